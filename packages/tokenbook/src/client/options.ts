import type { Usage } from "../../../../supabase/functions/_shared/token-hold.ts";

/** What every call takes. */
export interface CallOptions {
  /**
   * The user that it is about. Left out: the user of {@link tokenbook}'s options, else the signed-in user. The server,
   * which is no user, must name one.
   */
  userId?: string | undefined;
  /** Stops the request, and the waiting. What has reached the books is booked all the same. */
  signal?: AbortSignal | undefined;
}

/** What a call takes that changes something. */
export interface WriteOptions extends CallOptions {
  /**
   * The same key again has no second effect, for ever. Left out, the client makes one for this call, and keeps it
   * through its retries; give one that outlives the page (the id of a message, of an order) to be safe beyond it.
   * 1 to 255 characters of A-Z a-z 0-9 . _ : -
   */
  idempotencyKey?: string | undefined;
}

/** An object of at most 8 KiB. */
export type Metadata = Record<string, unknown>;

/** A moment: ISO 8601, or a Date. */
export type Moment = string | Date;

/** What a deduction is for. */
export interface DeductOptions extends WriteOptions {
  /** What for, as in `token_action_costs`: `chat_conversation`, … Default: `deduction`. */
  actionType?: string | undefined;
  metadata?: Metadata | undefined;
}

/** One deduction of a batch. */
export interface BatchItem {
  userId: string;
  tokens: number;
  actionType?: string | undefined;
  /** Left out, the client makes one. */
  idempotencyKey?: string | undefined;
  metadata?: Metadata | undefined;
}

/** What is to be quoted: the counts, or `tokens` as a fixed number. */
export interface QuoteOptions extends CallOptions, Omit<Usage, "metadata"> {
  actionType: string;
}

/** What was done: the counts, or `tokens` as a fixed number. */
export interface TrackOptions extends WriteOptions, Usage {
  actionType: string;
  /** false: recorded, and nothing deducted. */
  success?: boolean | undefined;
  /** Why it failed, at most 2000 characters. */
  errorMessage?: string | undefined;
  /**
   * `reject` (default): nothing is recorded, `success` false. `partial`: takes what there is, and records the rest.
   * `overdraft`: takes what there is, and the account owes the rest, within its limit; past that as `reject`.
   */
  onShortage?: "reject" | "partial" | "overdraft" | undefined;
}

/** What tokens are to be spent on: some grants pay only for some actions and models. */
export interface CanSpendOptions extends CallOptions {
  /** Default: `deduction`. */
  actionType?: string | undefined;
  model?: string | undefined;
}

/** What a grant pays for: either, or both, of lists of up to 50. */
export interface PaysFor {
  /** Action types: `chat_conversation`, … */
  actions?: string[] | undefined;
  /** Names of models, or how they begin, and `*`. */
  models?: string[] | undefined;
}

/** For what tokens are set aside, and for how long. */
export interface ReserveOptions extends WriteOptions {
  /** Seconds after which the tokens are back by themselves. Default 900. */
  ttlSeconds?: number | undefined;
  /** What for. Default: `deduction`. */
  actionType?: string | undefined;
  /** The model that will be called, where grants pay only for some. */
  model?: string | undefined;
  /** A hold of the same user that these tokens are a part of: the budget of a task of many calls. */
  parentHold?: string | undefined;
  metadata?: Metadata | undefined;
}

/** What was used; with any of it, a usage is recorded too. `tokens`: what to pay, else what the counts come to, else all. */
export interface CaptureOptions extends CallOptions, Usage {
  /** When that is more than was held. Default: `deduct`, all or nothing. */
  overCapture?: "deduct" | "partial" | "overdraft" | "cap" | "reject" | undefined;
  /** false: nothing is paid. */
  success?: boolean | undefined;
  errorMessage?: string | undefined;
}

/** Which tokens a user is given: when they count, what they pay for, what they cost. */
export interface GrantOptions extends WriteOptions {
  /** Left out: `admin`. Or a type of the project's own, made with `set_token_grant_type`. */
  grantType?:
    | "admin"
    | "trial"
    | "annual"
    | "28day"
    | "plan"
    | "purchase"
    // a type of the project's own, beside those that an editor offers
    | (string & {})
    | undefined;
  /** Left out: the type's own lifetime. `infinity`: never. */
  expiresAt?: Moment | undefined;
  /** 0 (spent first) to 100. Default 50. */
  priority?: number | undefined;
  /** Left out: what its type says, else everything. */
  paysFor?: PaysFor | undefined;
  /** What the buyer paid for all of its tokens, in cents of `currency`. Left out: they were given away. */
  costBasisCents?: number | undefined;
  /** `eur`, `usd`, …: with `costBasisCents`. */
  currency?: string | undefined;
  /** In the past, for the server only. */
  grantedAt?: Moment | undefined;
  /** In the next ten years: a grant to come. Left out: it begins now. */
  startsAt?: Moment | undefined;
  /** 1 to 500 characters. */
  reason?: string | undefined;
  metadata?: Metadata | undefined;
}

/** Why a balance is corrected. */
export interface AdjustOptions extends WriteOptions {
  /** 1 to 500 characters. */
  reason?: string | undefined;
  metadata?: Metadata | undefined;
}

/** How much of a charge is undone, and what becomes of grants that have run out. */
export interface RefundOptions extends WriteOptions {
  /** Left out: all that is left of the charge. */
  tokens?: number | undefined;
  reason?: string | undefined;
  /** What paid and has run out since: `forfeit` (default), or `reissue` as a new grant. */
  expiredPolicy?: "forfeit" | "reissue" | undefined;
  /** How long a reissued grant lives. */
  lifetimeDays?: number | undefined;
}

/** Why a grant is ended, and whether what was spent of it is taken back. */
export interface VoidOptions extends WriteOptions {
  reason?: string | undefined;
  /** What was spent of it is taken back too. */
  takeBack?: boolean | undefined;
}

/** Which entries of the ledger are read. */
export interface HistoryOptions extends CallOptions {
  /** Entries a page, 1 to 200. Default 50. */
  limit?: number | undefined;
  /** Older than this entry: `next_before` of the page before. */
  before?: number | null | undefined;
}

/** Which charge: one of the two. */
export interface ExplainOptions extends CallOptions {
  usageId?: string | undefined;
  transactionId?: number | undefined;
}

/** Which uses are added up, and by what. */
export interface UsageByOptions extends CallOptions {
  /** Default `day`; UTC. */
  bucket?: "hour" | "day" | "week" | "month" | "all" | undefined;
  /** Default `none`: together. */
  by?: "none" | "model" | "action" | "member" | undefined;
  /** Left out: the last day by hour, else the last 30 days. */
  from?: Moment | undefined;
  to?: Moment | undefined;
  /** Of everyone: for an admin or the server. */
  forEveryone?: boolean | undefined;
  /** What a million tokens is sold at, in cents: for an admin or the server. */
  centsPerMillionTokens?: number | undefined;
}

/** Over which time sales are added up. */
export interface RevenueOptions extends Pick<CallOptions, "signal"> {
  /** Default `day`; UTC. */
  bucket?: "day" | "month" | "all" | undefined;
  /** Left out: 30 days before `to`. */
  from?: Moment | undefined;
  to?: Moment | undefined;
}

/** How the new plan is paid for. */
export interface ChangePlanOptions extends WriteOptions {
  /** `card`, `paypal`, … */
  paymentMethod?: string | undefined;
  /** The provider's name for what paid for it. */
  paymentId?: string | undefined;
}

/** What is to be paid for: a plan, or so many of a pack. */
export type Purchase =
  | { planType: string; packType?: undefined; quantity?: undefined }
  | { packType: string; quantity?: number | undefined; planType?: undefined };

/** What is asked for: a plan, or so many of a pack. */
export type PaymentRequestOptions = WriteOptions & Purchase;

/** A page to pay at. The addresses are of the origins that the project allows. */
export type CheckoutOptions = WriteOptions &
  Purchase & {
    successUrl: string;
    cancelUrl: string;
    /** Of a pack: keeps the card for automatic top-ups. */
    saveCard?: boolean | undefined;
  };

/** Where the user comes back to from the provider's page. */
export interface PortalOptions extends CallOptions {
  returnUrl: string;
}

/** How much of a payment's money went back, and why. */
export interface PaymentRefundOptions extends CallOptions {
  reason: string;
  /** In all so far, in cents. Left out: everything. */
  refundedCents?: number | undefined;
}

/** How much of a list is read. */
export interface ListOptions extends CallOptions {
  /** How many at most, newest first. Default 50. */
  limit?: number | undefined;
}

/** Which alerts are read. */
export interface AlertsOptions extends ListOptions {
  /** Older than this alert. */
  before?: number | undefined;
}

/** For whom something is set: a user, each user on a plan, or everyone. */
export type Scope =
  | { userId: string; planType?: undefined; forEveryone?: undefined }
  | { planType: string; userId?: undefined; forEveryone?: undefined }
  | { forEveryone: true; userId?: undefined; planType?: undefined };

/** How many tokens may be spent in the window, and by whom. */
export type CapOptions = Scope & {
  /** Tokens, 0 to 10^12; null takes the cap away. */
  tokens: number | null;
  reason?: string | undefined;
  signal?: AbortSignal | undefined;
};

/** When users are told, and which of them. */
export type AlertRuleOptions = Scope & {
  kind: "dropped" | "depleted" | "expiring_soon";
  /** Of `dropped`: fewer than so many, or than so many percent of the plan limit. */
  thresholdTokens?: number | undefined;
  thresholdPercent?: number | undefined;
  /** Of `expiring_soon`: how long before. */
  hours?: number | undefined;
  /** The end of it is an alert too. */
  notifyRecovered?: boolean | undefined;
  /** false: none for these, whatever a wider rule says. */
  isEnabled?: boolean | undefined;
  signal?: AbortSignal | undefined;
};

/** How many tokens a member may spend of the payer's. */
export interface MemberCaps extends CallOptions {
  /** Tokens that the member may spend in a day, a week, a month; left out, a new member has no cap. */
  capDay?: number | undefined;
  capWeek?: number | undefined;
  capMonth?: number | undefined;
}

/** Which members are read, in pages. */
export interface MembersOptions extends CallOptions {
  /** Members a page, 1 to 1000. Default 100. */
  limit?: number | undefined;
  /** After this member. */
  after?: string | undefined;
}

/** When to ask for more tokens, and for what: tokens, a plan, or so many of a pack. */
export interface TopUpOptions extends CallOptions {
  /** false switches it off, and looks at nothing else. */
  isEnabled?: boolean | undefined;
  belowTokens?: number | undefined;
  tokens?: number | undefined;
  planType?: string | undefined;
  packType?: string | undefined;
  quantity?: number | undefined;
  cooldownSeconds?: number | undefined;
  maxRequests?: number | undefined;
  windowSeconds?: number | undefined;
}
