/**
 * What the functions answer that the package's client does not have; the others are in its `answers.ts`. Together the one
 * place where the shape of an answer is written: docs/reference.md shows it, and tests hold real answers against it.
 */
import type {
  Answers,
  ParkedAssignment,
  Rows,
  Terms,
} from "../../../packages/tokenbook/src/client/answers.ts";

/** A finding was looked into, and is left out from then on. */
export interface Acknowledgement {
  success: true;
  transaction_id: number;
  booked_at: string;
  reason: string;
  acknowledged_at: string;
  replayed: boolean;
}

/** The digests of a page of users. */
export interface Checkpoint {
  /** Of this page's lines and all before, SHA-256 in hex. */
  digest: string;
  users: number;
  entries: number;
  entries_read: number;
  lines: string[];
  /** The arguments of the next page; null: this is the last. */
  next: { p_after: string; p_digest: string } | null;
}

/** Which customer a user is at a provider. */
export interface Customer {
  user_id: string;
  provider: "stripe" | "paypal";
  /** null: none is known. */
  customer_id: string | null;
}

/** A customer of a provider is a user, or was another's already. */
export interface CustomerSetting extends Customer {
  /** false: the customer is another user's. */
  success: boolean;
  /** Whose the customer is. */
  user_id: string;
  payments_released: number;
  payments_waiting: number;
  replayed: boolean;
}

/** Something that an admin or the server changed beside the ledger. */
export interface Change {
  id: number;
  /** null: of everyone, or of the project. */
  user_id: string | null;
  /** The function. */
  change: string;
  actor_role: string;
  actor_id: string | null;
  reason: string | null;
  details: Record<string, unknown>;
  created_at: string;
}

/** Some of the changes, newest first. */
export interface ChangePage {
  changes: Change[];
  /** null: this is the last page. */
  next_before: number | null;
}

/** What a page to pay at is made of. */
export interface PreparedCheckout {
  user_id: string;
  plan_type: string | null;
  pack_type: string | null;
  quantity: number;
  /** At Stripe. */
  price_id: string;
  /** Of all of them. */
  amount_cents: number;
  currency: string;
  /** null: of a pack. */
  billing_cycle: "none" | "28day" | "monthly" | "annual" | null;
  /** null: none yet. */
  customer_id: string | null;
  /** For Stripe; null: without p_idempotency_key. */
  idempotency_key: string | null;
}

/** How a payment stands after what a provider told of it. */
export interface PaymentEvent extends Omit<
  ParkedAssignment,
  "customer_id" | "customer_user_id" | "payments_released" | "status"
> {
  status: "parked" | "waiting" | "approved" | "refunded" | "dismissed";
  replayed: boolean;
}

/** How a subscription stands after what a provider told of it. */
export interface SubscriptionEvent {
  success: true;
  status: "recorded" | "waiting";
  user_id: string | null;
  provider_status: string | null;
  provider_plan_type: string | null;
  plan_type: string | null;
  subscription_status: "active" | "past_due" | "paused" | "ended" | null;
  in_force_until: string | null;
  payments_waiting: number;
  replayed: boolean;
}

/** The next period has begun. */
export interface Renewal {
  success: true;
  plan_type: string;
  period_start: string;
  expires_at: string | null;
  tokens_granted: number;
  tokens_limit: number;
  tokens_remaining: number;
  transaction_id: number;
  replayed: boolean;
}

/** What a restatement does to a grant. */
export interface RestatedGrant {
  grant_id: string;
  /** Signed. */
  tokens: number;
}

/** Grants were brought to an exact history. */
export interface Restatement {
  success: true;
  tokens_taken: number;
  tokens_given: number;
  restated: RestatedGrant[];
  transaction_ids: number[];
  tokens_remaining: number;
  replayed: boolean;
}

/** A restatement was undone. */
export interface ReversedRestatement {
  success: true;
  transaction_id: number;
  /** The restatement's. */
  original_id: number;
  /** Signed. */
  tokens: number;
  restated: RestatedGrant[];
  tokens_remaining: number;
  replayed: boolean;
}

/** A type of grants is made, or changed. */
export interface GrantTypeSetting {
  success: true;
  grant_type: string;
  is_new: boolean;
  changed: string[];
  terms: GrantTypeTerms;
}

/** A row of `token_grant_types`. */
export interface GrantTypeTerms {
  grant_type: string;
  lifetime_hours: number | null;
  priority: number;
  pays_for: Record<string, unknown> | null;
  created_at: string;
}

/** How many of something a user may have at a time. */
export interface LimitSetting {
  success: true;
  name: "open_holds" | "pending_payments";
  value: number;
}

/** What referrals give from now on. */
export interface ReferralPolicy {
  success: true;
  is_on: boolean;
  referrer_tokens: number | null;
  referred_tokens: number | null;
  rewards_per_referrer: number;
  lifetime_days: number | null;
}

/** Who a subject of another sign-in is. */
export interface SubjectSetting {
  /** false: the subject is another user's. */
  success: boolean;
  /** Whose the subject is. */
  user_id: string;
  replayed: boolean;
}

/** What a second trial gives from now on. */
export interface TrialPolicy {
  success: true;
  policy: "allow" | "refuse" | "reduced";
  reduced_percent: number | null;
  reduced_tokens: number | null;
}

/** What becomes of the use of a model without a price. */
export interface UnknownModelPolicy {
  success: true;
  policy: "record" | "refuse";
}

/** What came of a request for a top-up. */
export interface SettledTopUp {
  success: true;
  request_id: string;
  status: "done" | "failed";
  settled_at: string;
  replayed: boolean;
}

/** What came of sending a delivery. */
export interface SettledDelivery {
  /** null: there is no such delivery. */
  status: "pending" | "delivered" | "given_up" | null;
  attempts: number | null;
  next_attempt_at: string | null;
}

/** What the catalogue says now of what a payment is for. */
export interface OfferNow {
  amount_cents: number;
  currency: string;
  is_offered: boolean;
  terms: Terms;
  /** The names of what has changed since it was asked for. */
  differs: string[];
}

/** What else a provider's events name than is booked. */
export interface Disagreement {
  user_id?: unknown;
  plan_type?: unknown;
  pack_type?: unknown;
  quantity?: unknown;
  currency?: unknown;
}

/** What every function answers. */
export interface EveryAnswer extends Answers {
  acknowledge_token_finding: Acknowledgement;
  checkpoint_token_ledger: Checkpoint;
  get_token_customer: Customer;
  set_token_customer: CustomerSetting;
  list_token_changes: ChangePage;
  prepare_token_checkout: PreparedCheckout;
  record_token_payment_event: PaymentEvent;
  record_token_subscription_event: SubscriptionEvent;
  renew_token_subscription: Renewal;
  restate_token_balances: Restatement;
  reverse_token_restatement: ReversedRestatement;
  set_token_grant_type: GrantTypeSetting;
  set_token_limit: LimitSetting;
  set_token_referral_policy: ReferralPolicy;
  set_token_subject: SubjectSetting;
  set_token_trial_policy: TrialPolicy;
  set_token_unknown_model_policy: UnknownModelPolicy;
  settle_token_top_up: SettledTopUp;
  settle_token_webhook: SettledDelivery;
  token_offer_now: OfferNow;
  token_payment_disagrees: Disagreement | null;
}

/** The tables whose rows are in answers. */
export interface EveryRow extends Rows {
  token_grant_types: GrantTypeTerms;
}
