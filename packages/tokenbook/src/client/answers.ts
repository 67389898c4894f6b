/**
 * What the books answer, exactly as they do: tests/package/answers.test.ts compares each of these types with real
 * answers. Tokens are whole numbers; cents may have fractions; times are ISO 8601.
 */

/** `frozen`: nothing can be spent. */
export type AccountState = "active" | "frozen";

/** What an operator sees of an account: while its books go to another project, and after they have gone, that. */
export type ListedAccountState = AccountState | "moving" | "moved" | "arriving";

/** A spend cap that was met, or is in force. */
export interface SpendCap {
  /** Of whom it is: of this user, of each user on a plan, of everyone, or of this member of a team. */
  scope: "user" | "plan" | "everyone" | "member";
  window: "day" | "week" | "month";
  /** Tokens that may be spent in the window. */
  limit: number;
  /** Tokens spent or set aside in it so far. */
  used: number;
  /** When it begins anew. */
  resets_at: string;
}

/** What a grant pays for: action types, and names of models, or how they begin and `*`. */
export interface PaidFor {
  actions?: string[];
  models?: string[];
}

/** A grant, as a balance lists it. */
export interface Grant {
  id: string;
  /** `plan`, `28day`, `admin`, `trial`, `annual`, `purchase`. */
  grant_type: string;
  tokens_granted: number;
  tokens_remaining: number;
  /** 0 (spent first) to 100. */
  priority: number;
  granted_at: string;
  /** The first moment at which it cannot be spent any more; null: never. */
  expires_at: string | null;
  /** What it pays for; null: everything. */
  pays_for: PaidFor | null;
}

/** What a user can spend now. */
export interface TokenBalance {
  user_id: string;
  state: AccountState;
  /** Tokens that can be spent. */
  total_active: number;
  /** Tokens lost to expiry since the books opened. */
  total_expired: number;
  /** Tokens set aside by open holds. */
  total_reserved: number;
  /** Debt: the next grant repays it first. */
  total_owed: number;
  /** How many they may owe by using more than they have; said where nothing is left and more is allowed than 0. */
  overdraft_limit?: number;
  /** The balance when it was last filled, by a plan, a pack or a grant; null: they never had a plan. */
  tokens_limit: number | null;
  /** The plan that is in force; null: none. */
  plan_type: string | null;
  /** When the next grant runs out; null: none does. */
  next_expiry: string | null;
  /** In the order in which they will be spent, at most 100. */
  grants: Grant[];
  has_more_grants: boolean;
  /** Of a member of a team: whose account this is. */
  payer_id?: string;
}

/** What a user could spend at a moment that has passed. */
export interface PastTokenBalance {
  user_id: string;
  at: string;
  total_active: number;
  total_expired: number;
  total_reserved: number;
  total_owed: number;
  next_expiry: string | null;
  grants: Grant[];
  has_more_grants: boolean;
}

/** How much a grant paid. */
export interface Allocation {
  grant_id: string;
  grant_type: string;
  granted_at: string;
  deducted: number;
}

/** Tokens were spent. */
export interface Deduction {
  success: true;
  tokens_deducted: number;
  tokens_remaining_to_deduct: 0;
  /** In the order in which they paid. */
  deducted_from: Allocation[];
  /** The entry in the ledger. */
  transaction_id: number;
  /** What can be spent after it. */
  tokens_remaining: number;
  /** It was done before, under the same key: this is what it answered then, but for the balance, which is of now. */
  replayed: boolean;
}

/** There were not enough tokens, or a cap allows less. Nothing was changed, and the key is not used up. */
export interface Shortage {
  success: false;
  tokens_deducted: 0;
  /** How many are missing. */
  tokens_remaining_to_deduct: number;
  deducted_from: [];
  transaction_id: null;
  tokens_remaining: number;
  replayed: false;
  /** The cap, if it was one. */
  capped_by?: SpendCap;
  /** How many of `tokens_remaining` are in grants that do not pay for this, where that is why. */
  tokens_restricted?: number;
}

/** What became of one item of a batch. */
export type BatchResult =
  | (Deduction & { index: number })
  | (Shortage & { index: number })
  | {
      index: number;
      success: false;
      /** `code` as in docs/errors.md; the facts beside it, under their names in SQL. */
      error: { code: string; hint: string; [fact: string]: unknown };
    };

/** What a batch of deductions came to, item by item. */
export interface Batch {
  /** Whether every item did. */
  success: boolean;
  /** How many of the items were deducted, had been before, were short, and failed. */
  deducted: number;
  replayed: number;
  short: number;
  failed: number;
  /** In the order of the items. */
  results: BatchResult[];
}

/** One AI operation was recorded, and paid for as far as `tokens_deducted` says. */
export interface TrackedUsage {
  success: true;
  /** The row in `token_usage`. */
  usage_id: string;
  transaction_id: number;
  /** What it counts for. */
  tokens_used: number;
  tokens_deducted: number;
  /** Used and not paid: with `onShortage: "partial"` there were no more. */
  tokens_remaining_to_deduct: number;
  /** With `onShortage: "overdraft"`: of `tokens_used`, what the account owes for it. */
  tokens_overdrawn?: number;
  /** What it cost the project, in cents; null: not known. */
  cost_estimate: number | null;
  deducted_from: Allocation[];
  tokens_remaining: number;
  replayed: boolean;
  capped_by?: SpendCap;
  tokens_restricted?: number;
}

/** There were not enough tokens. Nothing was recorded. */
export interface UntrackedUsage {
  success: false;
  usage_id: null;
  transaction_id: null;
  tokens_used: number;
  tokens_deducted: 0;
  tokens_remaining_to_deduct: number;
  cost_estimate: number | null;
  deducted_from: [];
  tokens_remaining: number;
  replayed: false;
  capped_by?: SpendCap;
  tokens_restricted?: number;
}

/** What an operation would deduct and cost. Nothing was changed. */
export interface Quote {
  state: AccountState;
  tokens: number;
  /** In cents; null: not known. */
  cost_estimate: number | null;
  sufficient: boolean;
  tokens_short: number;
  /** How many more the account may come to owe, for a use that asks for an overdraft. */
  overdraft_left: number;
  tokens_remaining: number;
  would_be_deducted_from: Allocation[];
  capped_by?: SpendCap;
  tokens_restricted?: number;
}

/** Tokens are set aside. */
export interface Reservation {
  success: true;
  hold_id: string;
  status: "open" | "captured" | "released" | "expired";
  tokens_reserved: number;
  tokens_remaining_to_deduct: 0;
  reserved_from: Allocation[];
  /** When they are back by themselves. */
  expires_at: string;
  transaction_id: number;
  tokens_remaining: number;
  replayed: boolean;
  /** Of a part of another hold: how that stands now. */
  budget?: HoldBudget;
}

/** How a hold stands of which others are parts: the budget of a task. */
export interface HoldBudget {
  hold_id: string;
  status: "open" | "captured" | "released" | "expired";
  /** What was set aside. */
  tokens: number;
  /** What its parts have of it, or paid. */
  tokens_passed: number;
  /** What can still be taken; 0 once it has ended. */
  tokens_left: number;
  /** What its parts and itself have paid. */
  tokens_used: number;
  expires_at: string;
}

/** There were not enough tokens. Nothing was set aside. */
export interface NoReservation {
  success: false;
  hold_id: null;
  status: null;
  tokens_reserved: 0;
  tokens_remaining_to_deduct: number;
  reserved_from: [];
  expires_at: null;
  transaction_id: null;
  tokens_remaining: number;
  replayed: false;
  capped_by?: SpendCap;
  tokens_restricted?: number;
}

/** What came of a hold; also of one that had been settled before, or had run out. */
export interface SettledHold {
  /** Whether it is as it was asked for. */
  success: boolean;
  hold_id: string;
  status: "captured" | "released" | "expired";
  tokens_reserved: number;
  tokens_captured: number;
  tokens_released: number;
  /** Of the hold, and beyond it. */
  tokens_deducted: number;
  /** Used and not paid: the capture took what there was, or no more than was held. */
  tokens_remaining_to_deduct: number;
  /** With `overCapture: "overdraft"`: what the account owes for it. */
  tokens_overdrawn?: number;
  deducted_from: Allocation[];
  transaction_id: number | null;
  /** The deduction of what was captured beyond the hold. */
  overage_transaction_id: number | null;
  usage_id: string | null;
  /** In cents; null: not known, or no usage was recorded. */
  cost_estimate: number | null;
  settled_at: string;
  tokens_remaining: number;
  replayed: boolean;
  capped_by?: SpendCap;
  tokens_restricted?: number;
  /** Of a hold that has parts, or is one. */
  budget?: HoldBudget;
}

/** Short of tokens beyond the hold: nothing was changed, and the hold is open. */
export interface OpenHold {
  success: false;
  hold_id: string;
  status: "open";
  tokens_reserved: number;
  tokens_captured: null;
  tokens_released: null;
  tokens_deducted: 0;
  tokens_remaining_to_deduct: number;
  deducted_from: [];
  transaction_id: null;
  overage_transaction_id: null;
  usage_id: null;
  cost_estimate: null;
  settled_at: null;
  tokens_remaining: number;
  replayed: false;
  capped_by?: SpendCap;
  tokens_restricted?: number;
  budget?: HoldBudget;
}

/** Tokens were given, as one new grant; what the user owed was repaid out of it. */
export interface GrantReceipt {
  success: true;
  grant_id: string;
  tokens_granted: number;
  grant_type: string;
  granted_at: string;
  expires_at: string | null;
  pays_for: PaidFor | null;
  transaction_id: number;
  tokens_remaining: number;
  replayed: boolean;
}

/** A balance was corrected. */
export interface Adjustment {
  success: true;
  delta: number;
  tokens_remaining_to_deduct: 0;
  /** Of a correction upwards: the grant. */
  grant_id: string | null;
  deducted_from: Allocation[];
  usage_id: string;
  transaction_id: number;
  tokens_remaining: number;
  replayed: boolean;
}

/** There were not as many tokens to take. Nothing was changed. */
export interface NoAdjustment {
  success: false;
  delta: number;
  tokens_remaining_to_deduct: number;
  grant_id: null;
  deducted_from: [];
  usage_id: null;
  transaction_id: null;
  tokens_remaining: number;
  replayed: false;
}

/** What a grant got back. */
export interface Restored {
  grant_id: string;
  grant_type: string;
  tokens: number;
}

/** A charge was undone, or a part of it. Tokens go back to the grants that had paid. */
export interface Refund {
  success: true;
  transaction_id: number;
  tokens_refunded: number;
  /** Of those, what was owed and no longer is, where something was. */
  debt_cancelled?: number;
  /** Back in the grants that had paid. */
  restored: Restored[];
  /** Of what has run out since. */
  forfeited: Restored[];
  /** What is left of the charge. */
  tokens_refundable: number;
  tokens_remaining: number;
  replayed: boolean;
}

/** A grant was ended before its time, or one that was to come called off. */
export interface VoidedGrant {
  success: true;
  grant_id: string;
  tokens_voided: number;
  /** Added to the debt. */
  tokens_owed: number;
  transaction_id: number;
  tokens_remaining: number;
  replayed: boolean;
}

/** Grants that are to begin later: nothing counts them before. */
export interface UpcomingGrants {
  user_id: string;
  /** The next first. */
  grants: UpcomingGrant[];
}

/** One of the grants that begin later. */
export interface UpcomingGrant {
  id: string;
  grant_type: string;
  tokens_granted: number;
  priority: number;
  /** What it pays for; null: everything. */
  pays_for: PaidFor | null;
  starts_at: string;
  /** null: never. */
  expires_at: string | null;
  transaction_id: number;
}

/** A grant runs out at another moment than before. */
export interface GrantExpiry {
  success: true;
  grant_id: string;
  /** null: never. */
  expires_at_before: string | null;
  expires_at: string | null;
  transaction_id: number;
  tokens_remaining: number;
  replayed: boolean;
}

/** An account was frozen or made active again; actor and reason are those of the latest change. */
export interface AccountStateChange {
  success: true;
  user_id: string;
  state: AccountState;
  reason: string | null;
  actor_role: string | null;
  actor_id: string | null;
  changed_at: string | null;
  replayed: boolean;
}

/** How many tokens a user may owe from now on, and owes. */
export interface Overdraft {
  success: true;
  user_id: string;
  /** As was said of the user; null: what their plan allows. */
  overdraft_limit: number | null;
  /** What counts now. */
  limit_in_force: number;
  tokens_owed: number;
  replayed: boolean;
}

/** An entry of the ledger. */
export interface TokenTransaction {
  /** Its number among the user's. */
  id: number;
  /** grant, deduction, expiry, hold, release, refund, …; `history`: older than the books. */
  entry_type: string;
  /** What it was for. */
  action_type: string;
  /** Signed: grants positive, deductions negative. */
  tokens: number;
  /** Tokens owed since: of a deduction an overdraft; negative: owed no longer. */
  debt_change: number;
  /** Tokens set aside by it; negative: no longer set aside. */
  reserved_change: number;
  balance_after: number | null;
  allocations: { grant_id: string; tokens: number }[];
  reason: string | null;
  actor_role: string | null;
  actor_id: string | null;
  idempotency_key: string | null;
  usage_id: string | null;
  hold_id: string | null;
  /** Of `hold_split` and `hold_return`: the hold that is the budget of this one. Its other entries do not say it. */
  parent_hold_id: string | null;
  /** The entry that it undoes. */
  original_id: number | null;
  /** The member of the team who spent it. */
  member_id: string | null;
  metadata: Record<string, unknown>;
  created_at: string;
}

/** A page of a history, newest first. */
export interface HistoryPage {
  transactions: TokenTransaction[];
  /** Where the next page begins; null: this is the last. */
  next_before: number | null;
}

/** Why something was charged, and what paid for it. */
export interface ChargeExplanation {
  usage: Record<string, unknown> | null;
  transaction: Record<string, unknown> | null;
  paid_by: {
    grant_id: string;
    grant_type: string;
    tokens: number;
    granted_at: string;
    expires_at: string | null;
    payment_id: string | null;
    subscription_id: string | null;
    /** What the buyer paid for these tokens; 0: they were given away, null: nobody knows. */
    cost_basis_cents: number | null;
    currency: string | null;
  }[];
  /** What paid, added up, each currency by itself. */
  cost_basis: { currency: string; cents: number }[];
  /** The newest 1000. */
  undone_by: {
    transaction_id: number;
    entry_type: string;
    tokens: number;
    debt_change: number;
    reason: string | null;
    created_at: string;
  }[];
  /** Signed: the charge, what is owed for it included, less what was given back. */
  tokens_net: number;
}

/** What was used in one bucket of time, and of that by one model, action or member. */
export interface UsageBucket {
  starts_at: string;
  /** With `by: "model"`. */
  model?: string | null;
  /** With `by: "action"`. */
  action_type?: string;
  /** With `by: "member"`; null: the user themself. */
  member_id?: string | null;
  uses: number;
  failed_uses: number;
  /** Deducted. */
  tokens: number;
  /** Used and not paid. */
  tokens_uncovered: number;
  input_tokens: number;
  output_tokens: number;
  cached_tokens: number;
  reasoning_tokens: number;
  images: number;
  seconds: number;
  /** For an admin or the server: what it cost, as far as known. */
  cost_cents?: number;
  uses_without_cost?: number;
  /** With `centsPerMillionTokens`: the tokens at that price, and that less the known cost. */
  worth_cents?: number;
  margin_cents?: number;
}

/** Uses added up, a row for each bucket of time in which there were any. */
export interface UsageReport {
  bucket: "hour" | "day" | "week" | "month" | "all";
  by: "none" | "model" | "action" | "member";
  from: string;
  to: string;
  rows: UsageBucket[];
}

/** What was sold, and what became of it, in cents of one currency. */
export interface RevenueSums {
  currency: string;
  opening_deferred_cents: number;
  sold_cents: number;
  /** What went back or is withheld by disputes, less what came back. */
  refunded_cents: number;
  /** Whose tokens were used. */
  recognised_cents: number;
  /** Whose tokens ended unused. */
  breakage_cents: number;
  /** Still owed in tokens. */
  closing_deferred_cents: number;
}

/** Of each day or month in which something changed, and of all of that time. */
export interface RevenueReport {
  bucket: "day" | "month" | "all";
  from: string;
  to: string;
  /** All that was booked before this moment is counted. */
  as_of: string;
  rows: (RevenueSums & { starts_at: string })[];
  totals: RevenueSums[];
}

/** How much a user may store, in gigabytes. */
export interface StorageQuota {
  total_quota_gb: number;
}

/** A plan was changed, or will be. */
export interface PlanChange {
  success: true;
  plan_type: string;
  effective: "now" | "period_end";
  effective_at: string;
  tokens_granted: number;
  tokens_limit: number;
  tokens_remaining: number;
  transaction_id: number;
  replayed: boolean;
}

/** Whether a user may have a trial. */
export interface TrialCheck {
  user_id: string;
  trial: "full" | "reduced" | "none";
  reason: "trial_already_taken" | "trial_needs_identity" | null;
  reduced_percent: number | null;
  reduced_tokens: number | null;
}

/** What is given for a payment, as the catalogue said. */
export type Terms = Record<string, unknown>;

/** A payment that waits for an admin. */
export interface PaymentRequest {
  success: true;
  payment_id: string;
  status: "pending" | "approved" | "rejected" | "refunded";
  from_plan: string | null;
  to_plan: string | null;
  pack_type: string | null;
  quantity: number;
  terms: Terms;
  amount_cents: number;
  currency: string;
  replayed: boolean;
}

/** A payment counts as paid, and what it buys was given in the same step. */
export interface PaymentApproval {
  success: true;
  payment_id: string;
  status: "approved" | "refunded";
  plan_type: string | null;
  /** Which plan counts now: a lower one waits for a higher one that is paid for. */
  plan_in_force: string | null;
  pack_type: string | null;
  quantity: number;
  tokens_granted: number;
  /** null: no plan limits them. */
  tokens_limit: number | null;
  tokens_remaining: number;
  transaction_id: number;
  replayed: boolean;
}

/** A payment that was waiting is refused; it gives nothing. */
export interface PaymentRejection {
  success: true;
  payment_id: string;
  status: "rejected";
  replayed: boolean;
}

/** Money went back, and the tokens that it had bought were taken back: what was spent of them is owed. */
export interface PaymentRefund {
  success: true;
  payment_id: string;
  status: "approved" | "refunded";
  refunded_cents: number;
  tokens_clawed_back: number;
  tokens_owed: number;
  /** null: no plan limits them. */
  tokens_limit: number | null;
  tokens_remaining: number;
  replayed: boolean;
}

/** The caps that a user is under now. */
export interface SpendCaps {
  /** Tightest first. */
  caps: SpendCap[];
}

/** A cap was set or taken away. */
export interface SpendCapSetting {
  success: true;
  scope: "user" | "plan" | "everyone";
  window: "day" | "week" | "month";
  /** null: the cap was taken away. */
  limit: number | null;
  /** Of a user: spent in the present window. */
  used: number | null;
}

/** A member who spends, or spent, from a payer's account. */
export interface TeamMember {
  member_id: string;
  since: string;
  /** null: still in it. */
  until: string | null;
  tokens_used: number;
  caps: Omit<SpendCap, "scope">[];
}

/** Some of those who spend from an account, or did. */
export interface TeamPage {
  /** Those of today first. */
  members: TeamMember[];
}

/** A row of `token_alert_rules`. */
export interface AlertRule {
  id: string;
  /** null: not for one user alone. */
  user_id: string | null;
  plan_type: string | null;
  rule: string;
  kind: string;
  threshold_tokens: number | null;
  threshold_percent: number | null;
  hours: number | null;
  notify_recovered: boolean;
  is_enabled: boolean;
  updated_at: string;
}

/** Whether a rule of alerts was taken away. */
export interface AlertRuleRemoval {
  success: true;
  /** false: there was none. */
  removed: boolean;
}

/** A row of `token_top_ups`: when to ask for more tokens, and for how many. */
export interface TopUp {
  user_id: string;
  is_enabled: boolean;
  below_tokens: number;
  tokens: number | null;
  plan_type: string | null;
  pack_type: string | null;
  quantity: number;
  cooldown_seconds: number;
  max_requests: number;
  window_seconds: number;
  /** Since when nothing is asked for, because a charge has failed; until it is set anew. */
  paused_at: string | null;
  updated_at: string;
}

/** The automatic top-up as it stands now, and the request for tokens that is still waiting. */
export interface TopUpSetting {
  success: true;
  is_enabled: boolean;
  /** null: there never was one. */
  top_up: TopUp | null;
  pending_request_id: string | null;
}

/** A row of `token_plans`. */
export interface Plan {
  plan_type: string;
  name: string;
  /** What a period gives; with `issue_every`, what each day, week or month of it gives. */
  tokens: number;
  articles_limit: number | null;
  storage_gb: number;
  price_cents: number;
  currency: string;
  billing_cycle: "none" | "28day" | "monthly" | "annual";
  grant_type: string;
  grant_lifetime_days: number | null;
  balance_cap: number | null;
  rollover_tokens: number | null;
  rollover_percent: number | null;
  rollover_lifetime_days: number | null;
  issue_every: "day" | "week" | "month" | null;
  issue_on: "anniversary" | "calendar";
  refill_to: number | null;
  /** All of a period; null where that cannot be known. */
  tokens_per_period: number | null;
  grace_days: number | null;
  /** How many tokens a user on it may owe by using more than they have; null: none. */
  overdraft_tokens: number | null;
  rank: number;
  features: Record<string, unknown>;
  stripe_price_id: string | null;
  former_stripe_price_ids: string[];
  paypal_plan_id: string | null;
  former_paypal_plan_ids: string[];
  is_offered: boolean;
  is_default: boolean;
  given_to_users_since: string | null;
  created_at: string;
  updated_at: string;
}

/** A row of `token_packs`: tokens that are bought once. */
export interface Pack {
  pack_type: string;
  name: string;
  /** That one of it gives. */
  tokens: number;
  /** null: for ever. */
  lifetime_days: number | null;
  priority: number;
  /** Of one. */
  price_cents: number;
  currency: string;
  stripe_price_id: string | null;
  former_stripe_price_ids: string[];
  is_offered: boolean;
  created_at: string;
  updated_at: string;
}

/** A row of `token_subscriptions`: which plan is in force, and until when. */
export interface Subscription {
  user_id: string;
  id: string;
  /** null: none is in force. */
  plan_type: string | null;
  tokens_limit: number;
  articles_limit: number | null;
  features: Record<string, unknown>;
  billing_cycle: "none" | "28day" | "monthly" | "annual";
  is_active: boolean;
  status: "active" | "past_due" | "paused" | "ended";
  auto_renew: boolean;
  payment_method: string | null;
  payment_id: string | null;
  period_start: string;
  expires_at: string | null;
  in_force_until: string | null;
  next_plan_type: string | null;
  schedule: Record<string, unknown> | null;
  next_slot_at: string | null;
  cancel_at: string | null;
  created_at: string;
  updated_at: string;
}

/** A row of `token_payments`. */
export interface Payment {
  user_id: string;
  id: string;
  status: "pending" | "approved" | "rejected" | "refunded";
  provider: "manual" | "stripe" | "paypal";
  provider_payment_id: string | null;
  from_plan: string | null;
  to_plan: string | null;
  pack_type: string | null;
  quantity: number;
  amount_cents: number;
  currency: string;
  terms: Terms;
  /** null until approved. */
  tokens: number | null;
  refunded_cents: number;
  disputed_cents: number;
  tokens_clawed_back: number;
  tokens_lapsed: number;
  idempotency_key: string | null;
  reason: string | null;
  created_at: string;
  decided_at: string | null;
  decided_by: string | null;
}

/** A payment, as the edge function `payments` lists it to an admin. */
export interface ListedPayment extends Omit<Payment, "tokens_lapsed" | "idempotency_key"> {
  /** What the catalogue says now, where that differs from `terms`; null: the same. */
  offer_now: Record<string, unknown> | null;
  /** What else a provider's events name than is booked. */
  disagrees: unknown;
  /** The address of the user who asked; null: none, or they were deleted. */
  email: string | null;
}

/** A page of payments, and those that are parked. */
export interface PaymentsForAdmin {
  payments: ListedPayment[];
  /** Where the next page begins; null: there is none. */
  next_after: string | null;
  parked: ParkedPayment[];
}

/** A row of `token_alerts`. */
export interface Alert {
  user_id: string;
  /** Its number among the user's; `token_accounts.last_alert_id` names the newest. */
  id: number;
  kind: string;
  /** The name of the rule. */
  rule: string;
  epoch: number | null;
  grant_id: string | null;
  request_id: string | null;
  /** What it tells; docs/guides/alerts.md says which kind tells what. */
  payload: Record<string, unknown>;
  created_at: string;
}

/** What a redeemed code gave; replayed: they had it already, as often as they may or under the same key. */
export interface Redemption extends GrantReceipt {
  code_id: string;
}

/** The code that a user refers others with. */
export interface ReferralCode {
  success: true;
  code: string;
  /** Whether the project gives anything for a referral; if not, the numbers of it are null. */
  is_on: boolean;
  /** What they are given at the first payment of whom they referred. */
  referrer_tokens: number | null;
  /** And what the other is given. */
  referred_tokens: number | null;
  /** How many of theirs were rewarded. */
  rewards: number;
  rewards_left: number | null;
}

/** By whom a user was referred is written down; their first payment gives both their tokens. */
export interface ReferralClaim {
  success: true;
  /** What it will give them, as it stands. */
  referred_tokens: number;
  replayed: boolean;
}

/** A page of the payment provider's, to send the user to. */
export interface CheckoutPage {
  url: string;
}

/** A user, as an admin finds them in a list. */
export interface ListedUser {
  user_id: string;
  /** null: they were deleted, or sign in without one. */
  email: string | null;
  /** false: they were deleted, and have books still. */
  is_user: boolean;
  state: ListedAccountState;
  /** The plan that is in force; null: none. */
  plan_type: string | null;
  /** That can be spent. */
  tokens_remaining: number;
  tokens_reserved: number;
  tokens_owed: number;
  tokens_used: number;
  /** What their uses cost the project. */
  cost_cents: number;
  /** When their ledger last changed; null: never. */
  last_active_at: string | null;
  /** Of a member of a team: whose account they spend from. */
  payer_id: string | null;
}

/** Some of the users, in the order that was asked for. */
export interface UserPage {
  users: ListedUser[];
  /** Where the next page begins; null: this is the last. */
  next_after: string | null;
}

/** A hold that is open, as an admin sees it. */
export interface OpenHoldOfUser {
  id: string;
  tokens: number;
  action_type: string;
  actor_role: string;
  member_id: string | null;
  parent_id: string | null;
  created_at: string;
  expires_at: string;
}

/** One user, for an admin or a support page. */
export interface UserDetails {
  user_id: string;
  email: string | null;
  /** false: they were deleted, and have books still. */
  is_user: boolean;
  state: ListedAccountState;
  payer_id: string | null;
  tokens_used: number;
  tokens_expired: number;
  cost_cents: number;
  last_active_at: string | null;
  /** null: never one. */
  subscription: Subscription | null;
  /** The next to run out first, at most 50. */
  holds: OpenHoldOfUser[];
  /** Newest first, at most 50. */
  alerts: Alert[];
}

/** What is personal of a user was erased from the books, or the first portion of it. */
export interface Erasure {
  success: true;
  user_id: string;
  /** Rows, by table. */
  erased: { [table: string]: number };
  /** false: ask again. */
  is_done: boolean;
}

/** One thing that is wrong with a user's balance, use or cost. */
export interface Finding {
  scenario:
    | "balance_higher"
    | "balance_lower"
    | "cost_mismatch"
    | "no_usage_records"
    | "negative_balance"
    | "failed_operations_counted"
    | "duplicate_usage"
    | "unreadable";
  /** What makes it so, in words joined by underscores. */
  cause: string;
  /** How many tokens it is about; 0 for a cost. */
  tokens: number;
  /** By how many tokens the balance is too high because of it; negative: too low. */
  off: number;
  /** Whether an adjustment of the balance puts it right. */
  is_repairable: boolean;
  /** null where it cannot be told. */
  since: string | null;
  advice: string;
  evidence: Record<string, unknown>;
  /** Of a cost: by how many cents the books have too much. */
  cents?: number;
}

/** A user whose books and records differ. Costs in cents; differences positive where the books have more. */
export interface Discrepancy {
  user_id: string;
  email: string | null;
  /** null, as all figures, where the records cannot be read. */
  current_remaining: number | null;
  expected_remaining: number | null;
  remaining_difference: number | null;
  current_used: number | null;
  calculated_used: number | null;
  used_difference: number | null;
  current_cost: number | null;
  calculated_cost: number | null;
  cost_difference: number | null;
  since: string | null;
  scenarios: string[];
  findings: Finding[];
}

/** One user's books against their records. */
export interface Reconciliation {
  user_id: string;
  current_remaining: number;
  expected_remaining: number;
  remaining_difference: number;
  current_used: number;
  calculated_used: number;
  used_difference: number;
  current_cost: number;
  calculated_cost: number;
  cost_difference: number;
  since: string | null;
  /** The lines of `expected_remaining`. */
  formula: Record<string, number | string>;
  /** The counters of before the clean-up, where there were any; cost in cents. */
  counters_before_the_books: { tokens_remaining: number; tokens_used: number; total_cost: number } | null;
  /** The newest entry of the ledger that was looked at. */
  last_transaction_id: number;
  findings: Finding[];
}

/** What a grant would have if all had been spent exactly, beside what it has. */
export interface ReplayedGrant {
  user_id: string;
  /** null: deductions that no grant paid (`uncovered`). */
  grant_id: string | null;
  grant_type: string | null;
  granted_at: string | null;
  expires_at: string | null;
  tokens_granted: number | null;
  exact: number | null;
  stored: number | null;
  /** stored - exact. */
  difference: number | null;
  uncovered: number | null;
}

/** What is about to run out on a day (UTC), as much as is there now. */
export interface Expiry {
  /** As `2026-12-31`. */
  day: string;
  tokens: number;
  grants: number;
  users: number;
}

/** A breach of an invariant of the books. */
export interface LedgerBreach {
  invariant: string;
  user_id: string | null;
  grant_id: string | null;
  transaction_id: number | null;
  expected: string | null;
  found: string | null;
}

/** A payment that was paid at a provider and gives nothing yet. */
export interface ParkedPayment {
  provider: string;
  provider_payment_id: string;
  user_id: string | null;
  customer_id: string | null;
  plan_type: string | null;
  pack_type: string | null;
  quantity: number | null;
  price_id: string | null;
  amount_cents: number | null;
  currency: string | null;
  refunded_cents: number;
  disputed_cents: number;
  parked_reason: string;
  /** For people: what was expected, and what came. */
  explanation: string;
  parked_details: Record<string, unknown> | null;
  created_at: string;
}

/** A parked payment was taken off the list. */
export interface ParkedDismissal {
  success: true;
  provider: string;
  provider_payment_id: string;
  status: "dismissed";
  parked_reason: string;
  replayed: boolean;
}

/** A code that gives tokens. */
export interface TokenCode {
  code_id: string;
  name: string;
  state: "open" | "ended" | "used_up" | "expired" | "waiting";
  tokens: number;
  grant_type: string;
  lifetime_days: number | null;
  max_redemptions: number | null;
  max_per_user: number;
  redemptions: number;
  valid_from: string | null;
  valid_until: string | null;
  ended_at: string | null;
  created_at: string;
}

/** Some of the codes of the project. */
export interface CodePage {
  /** Newest first. */
  codes: TokenCode[];
  next_before: number | null;
}

/** A delivery of a webhook. */
export interface WebhookDelivery {
  id: number;
  event_id: string;
  endpoint: string;
  /** All zeros: the project. */
  user_id: string;
  kind: string;
  data: Record<string, unknown>;
  created_at: string;
  status: "pending" | "delivered" | "given_up";
  attempts: number;
  next_attempt_at: string | null;
  last_error: string | null;
  settled_at: string | null;
}

/** Some of the deliveries, one for each event and endpoint. */
export interface DeliveryPage {
  /** Newest first. */
  deliveries: WebhookDelivery[];
  next_before: number | null;
}

/** A plan is made, or changed. */
export interface PlanSetting {
  success: true;
  plan_type: string;
  is_new: boolean;
  /** Fields; none: it was so already. */
  changed: string[];
  plan: Plan;
}

/** A pack is made, or changed. */
export interface PackSetting {
  success: true;
  pack_type: string;
  is_new: boolean;
  changed: string[];
  pack: Pack;
}

/** A row of `token_model_rates`: what using a model costs a user, in tokens. */
export interface ModelRate {
  /** A model, or how its name begins, and `*`. */
  model_pattern: string;
  /** `-infinity`: ever since. */
  valid_from: string;
  /** null, and all others with it: no rate any more. */
  tokens_per_input: number | null;
  /** null: as other input. */
  tokens_per_cached: number | null;
  tokens_per_output: number | null;
  /** null: as other output. */
  tokens_per_reasoning: number | null;
  tokens_per_image: number | null;
  tokens_per_second: number | null;
  markup_percent: number | null;
}

/** What a model costs users was said, or taken back. */
export interface ModelRateSetting {
  success: true;
  model_pattern: string;
  is_new: boolean;
  changed: string[];
  /** null: none any more. */
  rate: ModelRate | null;
}

/** A row of `token_model_prices`: what a model costs the project, in cents; null is not known. */
export interface ModelPrice {
  model: string;
  /** `-infinity`: ever since. */
  valid_from: string;
  input_cents_per_million: number | null;
  /** null: as other input. */
  cached_input_cents_per_million: number | null;
  output_cents_per_million: number | null;
  cents_per_image: number | null;
  cents_per_minute: number | null;
  source: "manual" | "synced";
}

/** What a model costs the project was said, or was so already. */
export interface ModelPriceSetting {
  success: true;
  model: string;
  is_new: boolean;
  changed: string[];
  /** A price that was synced was left out for one that was set by hand. */
  is_manual: boolean;
  price: ModelPrice;
}

/** A row of `token_action_costs`: what an action costs a user, at least and at most. */
export interface ActionCost {
  action_type: string;
  min_tokens: number;
  max_tokens: number;
}

/** What an action costs users was said, or taken back. */
export interface ActionCostSetting {
  success: true;
  action_type: string;
  is_new: boolean;
  changed: string[];
  /** null: it costs what was counted. */
  cost: ActionCost | null;
}

/** A code is made. */
export interface NewTokenCode extends Omit<TokenCode, "redemptions" | "created_at" | "ended_at" | "state"> {
  success: true;
  /** It is told here, and never again. */
  code: string;
}

/** A code was ended early. */
export interface EndedTokenCode extends TokenCode {
  success: true;
  replayed: boolean;
}

/** A parked payment is somebody's: how it stands now. */
export interface ParkedAssignment {
  success: true;
  status: "pending" | "approved" | "rejected" | "refunded" | "parked" | "dismissed";
  parked_reason: string | null;
  payment_id: string | null;
  user_id: string | null;
  plan_type: string | null;
  plan_in_force: string | null;
  pack_type: string | null;
  quantity: number | null;
  amount_cents: number | null;
  refunded_cents: number;
  disputed_cents: number;
  disagrees: unknown;
  tokens_granted: number;
  tokens_clawed_back: number;
  tokens_owed: number;
  tokens_limit: number | null;
  tokens_remaining: number | null;
  customer_id: string | null;
  customer_user_id: string | null;
  payments_released: number;
  /** That the same call again gives. */
  payments_waiting: number;
}

/** An endpoint that webhooks are sent to, and of which events. */
export interface WebhookEndpoint {
  name: string;
  /** May be a secret by itself. */
  url: string;
  /** null: everything. */
  kinds: string[] | null;
  is_enabled: boolean;
  /** The setting of the edge functions that has its secret. */
  secret_setting: string;
  created_at: string;
  updated_at: string;
}

/** Whether there was an endpoint of that name to take away. */
export interface WebhookEndpointRemoval {
  success: true;
  /** false: there was none. */
  removed: boolean;
}

/** A delivery is due again. */
export interface RepeatedDelivery {
  success: true;
  delivery_id: number;
  status: WebhookDelivery["status"];
  next_attempt_at: string | null;
}

/** What each function answers; docs/reference.md says more of each. */
export interface Answers {
  get_user_token_balance: TokenBalance;
  get_token_balance_as_of: PastTokenBalance;
  can_spend_tokens: boolean;
  has_token_plan: boolean;
  deduct_tokens_with_fifo: Deduction | Shortage;
  deduct_tokens_batch: Batch;
  track_token_usage: TrackedUsage | UntrackedUsage;
  estimate_tokens: Quote;
  reserve_tokens: Reservation | NoReservation;
  capture_tokens: SettledHold | OpenHold;
  release_tokens: SettledHold;
  grant_tokens: GrantReceipt;
  adjust_tokens: Adjustment | NoAdjustment;
  refund_tokens: Refund;
  void_token_grant: VoidedGrant;
  set_token_grant_expiry: GrantExpiry;
  set_token_account_state: AccountStateChange;
  set_token_overdraft: Overdraft;
  get_token_history: HistoryPage;
  explain_token_charge: ChargeExplanation;
  get_token_usage_by: UsageReport;
  get_token_revenue: RevenueReport;
  get_user_storage_quota: StorageQuota;
  change_token_plan: PlanChange;
  check_token_trial: TrialCheck;
  create_token_payment: PaymentRequest;
  approve_token_payment: PaymentApproval;
  reject_token_payment: PaymentRejection;
  refund_token_payment: PaymentRefund;
  get_token_spend_caps: SpendCaps;
  set_token_spend_cap: SpendCapSetting;
  add_token_team_member: TeamMember;
  remove_token_team_member: TeamMember;
  list_token_team_members: TeamPage;
  list_upcoming_token_grants: UpcomingGrants;
  set_token_alert_rule: AlertRule;
  remove_token_alert_rule: AlertRuleRemoval;
  set_token_top_up: TopUpSetting;
  redeem_token_code: Redemption;
  get_token_referral_code: ReferralCode;
  claim_token_referral: ReferralClaim;
  list_token_users: UserPage;
  get_token_user: UserDetails;
  forget_token_user: Erasure;
  find_token_discrepancies: Discrepancy[];
  list_token_expiries: Expiry[];
  reconcile_user_token_balance: Reconciliation;
  replay_token_balances: ReplayedGrant[];
  verify_token_ledger: LedgerBreach[];
  list_parked_token_payments: ParkedPayment[];
  dismiss_parked_token_payment: ParkedDismissal;
  list_token_codes: CodePage;
  list_token_webhook_deliveries: DeliveryPage;
  set_token_plan: PlanSetting;
  set_token_pack: PackSetting;
  set_token_model_rate: ModelRateSetting;
  set_token_model_price: ModelPriceSetting;
  set_token_action_cost: ActionCostSetting;
  create_token_code: NewTokenCode;
  end_token_code: EndedTokenCode;
  assign_parked_token_payment: ParkedAssignment;
  list_token_webhook_endpoints: WebhookEndpoint[];
  set_token_webhook_endpoint: WebhookEndpoint;
  remove_token_webhook_endpoint: WebhookEndpointRemoval;
  repeat_token_webhook_delivery: RepeatedDelivery;
  /** How many. */
  retry_token_webhooks: number;
}

/** The rows of the tables that the client reads. */
export interface Rows {
  token_plans: Plan;
  token_packs: Pack;
  token_subscriptions: Subscription;
  token_payments: Payment;
  token_alerts: Alert;
  token_top_ups: TopUp;
  token_model_rates: ModelRate;
  token_model_prices: ModelPrice;
  token_action_costs: ActionCost;
  token_alert_rules: AlertRule;
}
