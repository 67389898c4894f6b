/** What a payment provider's event says, in the words of the books. */

/** What every fact may say. */
interface Told {
  /** The provider's own time of what it tells, ISO 8601; left out: the event's. */
  occurred_at?: string | undefined;
  /** The provider's id of the customer who pays: finds the user where no event names them. */
  customer_id?: string | undefined;
  /** ISO 4217. */
  currency?: string | undefined;
}

/** A payment was made. */
export interface PaidFacts extends Told {
  kind: "paid";
  /** Left out when the event does not say it in a place that only our server can write. */
  user_id?: string | undefined;
  /** From our catalogue, never from the event's own words: a plan or a pack, never both. */
  plan_type?: string | undefined;
  pack_type?: string | undefined;
  /** Of the pack; a plan is bought once. Left out: 1. */
  quantity?: number | undefined;
  /** The provider's id of the price, for the admin who has to say what was bought. */
  price_id?: string | undefined;
  /** All that was paid, in the currency's smallest unit. */
  amount_cents?: number | undefined;
  /** Of it, what the customer's balance at the provider paid; below 0: what it put there instead. */
  from_balance_cents?: number | undefined;
  /** Start of the period that was paid for, ISO 8601; left out for what is not paid in periods. */
  period_start?: string | undefined;
  /** The provider's id of the subscription that it is a payment of. */
  subscription_id?: string | undefined;
  /** Whether it may be the subscription's setup fee instead, as far as the provider tells. */
  may_be_fee?: boolean | undefined;
  /** How many of the subscription's periods had been paid for when this was its newest payment. */
  cycles_completed?: number | undefined;
  /** Ids of the other payments that paid for the same: what is told of them counts for this one. */
  parts?: string[] | undefined;
  /** Why this gives nothing by itself, but waits for an admin to say what was bought. */
  parked_reason?: ParkedReason | undefined;
  /** What that is in this case, for the admin who decides it. */
  parked_details?: ParkedDetails | undefined;
}

/** What a reason to wait is in one case. */
export interface ParkedDetails {
  /** What would have been the price, in the currency's smallest unit. */
  expected_cents?: number | undefined;
  expected_currency?: string | undefined;
  /** How many were bought, and may be. */
  quantity?: number | undefined;
  at_most?: number | undefined;
  /** What cannot be read, and what it must be. */
  field?: string | undefined;
  rule?: string | undefined;
  /** What the books have refused it with. */
  error?: string | undefined;
}

/** One refund, by its own id. Pending and succeeded have taken the money; failed and canceled have not. */
export interface RefundFacts extends Told {
  kind: "refund";
  refund_id: string;
  status: "pending" | "succeeded" | "failed" | "canceled";
  amount_cents: number;
}

/** All that was refunded of a payment at that moment, where no ids are told. */
export interface RefundedFacts extends Told {
  kind: "refunded";
  refunded_cents: number;
  /** Of the payment. */
  amount_cents?: number | undefined;
}

/**
 * What was credited to the customer for unused time of what this payment had paid for, by an id of its own: it has gone
 * back, and pays for something else.
 */
export interface CreditFacts extends Told {
  kind: "credit";
  credit_id: string;
  amount_cents: number;
}

/**
 * One dispute, by its own id. Open and lost withhold its amount; an inquiry and a dispute that is won do not.
 * Reversed is what the provider took back by itself, by its own id too: because of a dispute that is open then or has
 * its amount, which says how it goes on; anything else is gone by itself.
 */
export interface DisputeFacts extends Told {
  kind: "dispute";
  dispute_id: string;
  status: "inquiry" | "reversed" | "open" | "won" | "lost";
  /** Left out: all of the payment. */
  amount_cents?: number | undefined;
}

/** What one event says about one payment, as `record_token_payment_event` takes it. */
export type Facts = PaidFacts | RefundFacts | RefundedFacts | CreditFacts | DisputeFacts;

/** Why a payment waits for an admin: the slugs of `tokenbook.parked_reasons()`, which has a sentence for each. */
export type ParkedReason =
  | "user_unknown"
  | "price_unknown"
  | "quantity"
  | "quantity_unknown"
  | "proration"
  | "amount_differs"
  | "currency_differs"
  | "credited"
  | "paid_with_credit"
  | "several_things"
  | "setup_fee"
  | "second_in_period"
  | "nothing_named"
  | "items_unknown"
  | "not_ours"
  | "unreadable"
  | "refused";

/** What one event says about one subscription, as `record_token_subscription_event` takes it. */
export interface SubscriptionFacts {
  kind: "subscription";
  /** Left out: the event's. */
  occurred_at?: string | undefined;
  user_id?: string | undefined;
  customer_id?: string | undefined;
  plan_type?: string | undefined;
  price_id?: string | undefined;
  status: "active" | "past_due" | "paused" | "cancelled";
  /** ISO 8601. */
  cancel_at?: string | undefined;
  current_period_end?: string | undefined;
}
