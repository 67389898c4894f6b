/** What a caller needs to know about one kind of error, wherever it was raised. */
export interface ErrorKind {
  /** HTTP status of the answer. */
  readonly status: number;
  /** Short name for people, the same for every occurrence. */
  readonly title: string;
  /** SQLSTATE under which `private.refuse` raises it; null when only the edge functions know it. */
  readonly sqlstate: string | null;
  /** Whether the very same request, sent again with the same key, may succeed. */
  readonly retryable: boolean;
  /** What to do about it, in one sentence: the HINT in SQL. */
  readonly hint: string;
}

/**
 * The one registry of errors. docs/errors.md explains each slug, and supabase/schemas raises those
 * with a SQLSTATE; a test holds the three against each other, so that none says something else.
 */
export const errors = {
  method_not_allowed: {
    status: 405,
    title: "Method not allowed",
    sqlstate: null,
    retryable: false,
    hint: "Use the method that the Allow header names.",
  },
  payload_too_large: {
    status: 413,
    title: "Payload too large",
    sqlstate: null,
    retryable: false,
    hint: "Send at most 65536 bytes.",
  },
  not_authenticated: {
    status: 401,
    title: "Not authenticated",
    sqlstate: "42501",
    retryable: false,
    hint: "Sign in.",
  },
  forbidden: {
    status: 403,
    title: "Forbidden",
    sqlstate: "42501",
    retryable: false,
    hint: "You may not do this for that user.",
  },
  unsupported_media_type: {
    status: 415,
    title: "Unsupported media type",
    sqlstate: null,
    retryable: false,
    hint: "Send the body as application/json.",
  },
  invalid_request: {
    status: 400,
    title: "Invalid request",
    sqlstate: null,
    retryable: false,
    hint: "Send what the function's reference lists, and nothing else.",
  },
  invalid_signature: {
    status: 400,
    title: "Invalid signature",
    sqlstate: null,
    retryable: false,
    hint: "Only the payment provider itself may send this.",
  },
  invalid_user_id: {
    status: 400,
    title: "Invalid user",
    sqlstate: "PT400",
    retryable: false,
    hint: "Say which user.",
  },
  invalid_amount: {
    status: 400,
    title: "Invalid amount",
    sqlstate: "PT400",
    retryable: false,
    hint: "Give a whole number of tokens within the stated limits.",
  },
  invalid_grant_type: {
    status: 400,
    title: "Invalid grant type",
    sqlstate: "PT400",
    retryable: false,
    hint: "Use annual, 28day, trial, purchase, admin or plan.",
  },
  invalid_action_type: {
    status: 400,
    title: "Invalid action type",
    sqlstate: "PT400",
    retryable: false,
    hint: "Use 1 to 64 characters of a-z 0-9 _, starting with a letter; names of grants are reserved.",
  },
  invalid_priority: {
    status: 400,
    title: "Invalid priority",
    sqlstate: "PT400",
    retryable: false,
    hint: "Use 0 (spent first) to 100 (spent last).",
  },
  invalid_granted_at: {
    status: 400,
    title: "Invalid start of a grant",
    sqlstate: "PT400",
    retryable: false,
    hint: "Give a moment that is not in the future, or leave it out.",
  },
  invalid_expiry: {
    status: 400,
    title: "Invalid expiry",
    sqlstate: "PT400",
    retryable: false,
    hint: "Give a moment in the future, 'infinity' for never, or leave it out.",
  },
  invalid_reason: {
    status: 400,
    title: "Invalid reason",
    sqlstate: "PT400",
    retryable: false,
    hint: "Use 1 to 500 characters that are not all blank.",
  },
  invalid_idempotency_key: {
    status: 400,
    title: "Invalid idempotency key",
    sqlstate: "PT400",
    retryable: false,
    hint: "Use 1 to 255 characters of A-Z a-z 0-9 . _ : -",
  },
  invalid_metadata: {
    status: 400,
    title: "Invalid metadata",
    sqlstate: "PT400",
    retryable: false,
    hint: "Give a JSON object of at most 8192 bytes.",
  },
  invalid_usage: {
    status: 400,
    title: "Invalid usage",
    sqlstate: "PT400",
    retryable: false,
    hint: "Say what was used: whole numbers from 0, parts no larger than the whole.",
  },
  invalid_ttl: {
    status: 400,
    title: "Invalid time to live",
    sqlstate: "PT400",
    retryable: false,
    hint: "Hold for 1 to 86400 seconds.",
  },
  invalid_refund: {
    status: 400,
    title: "Invalid refund",
    sqlstate: "PT400",
    retryable: false,
    hint: "Use forfeit, or reissue with a lifetime in days.",
  },
  invalid_burn_order: {
    status: 400,
    title: "Invalid burn order",
    sqlstate: "PT400",
    retryable: false,
    hint: "Use fifo or expiring_first.",
  },
  invalid_batch: {
    status: 400,
    title: "Invalid batch",
    sqlstate: "PT400",
    retryable: false,
    hint: "Send an array of 1 to 1000 items, at most 1 MiB in all.",
  },
  invalid_cap: {
    status: 400,
    title: "Invalid cap",
    sqlstate: "PT400",
    retryable: false,
    hint: "Use day, week or month, and 0 to 1000000000000 tokens.",
  },
  invalid_member: {
    status: 400,
    title: "Invalid member",
    sqlstate: "PT400",
    retryable: false,
    hint: "Name a user other than the payer.",
  },
  invalid_alert_rule: {
    status: 400,
    title: "Invalid alert rule",
    sqlstate: "PT400",
    retryable: false,
    hint: "Say what the rule's kind needs, and nothing else.",
  },
  invalid_top_up: {
    status: 400,
    title: "Invalid top-up",
    sqlstate: "PT400",
    retryable: false,
    hint: "Say below how many tokens to ask, and for how many tokens or which plan.",
  },
  invalid_page: {
    status: 400,
    title: "Invalid page",
    sqlstate: "PT400",
    retryable: false,
    hint: "Ask for 1 to 200 entries, and pass next_before on as it was given.",
  },
  idempotency_key_reused: {
    status: 422,
    title: "Idempotency key reused",
    sqlstate: "PT422",
    retryable: false,
    hint: "That key was used for another request. Use a new key for a new request.",
  },
  user_not_found: {
    status: 404,
    title: "User not found",
    sqlstate: "PT404",
    retryable: false,
    hint: "There is no such user.",
  },
  payment_not_found: {
    status: 404,
    title: "Payment not found",
    sqlstate: "PT404",
    retryable: false,
    hint: "There is no such payment of that user.",
  },
  plan_not_found: {
    status: 404,
    title: "Plan not found",
    sqlstate: "PT404",
    retryable: false,
    hint: "Use a plan of the catalogue (token_plans).",
  },
  subscription_not_found: {
    status: 404,
    title: "Subscription not found",
    sqlstate: "PT404",
    retryable: false,
    hint: "The user has no active subscription.",
  },
  charge_not_found: {
    status: 404,
    title: "Charge not found",
    sqlstate: "PT404",
    retryable: false,
    hint: "There is no such usage or transaction of that user.",
  },
  hold_not_found: {
    status: 404,
    title: "Hold not found",
    sqlstate: "PT404",
    retryable: false,
    hint: "There is no such hold of that user.",
  },
  grant_not_found: {
    status: 404,
    title: "Grant not found",
    sqlstate: "PT404",
    retryable: false,
    hint: "There is no such grant of that user.",
  },
  member_not_found: {
    status: 404,
    title: "Member not found",
    sqlstate: "PT404",
    retryable: false,
    hint: "There is no such member of that user's team.",
  },
  top_up_request_not_found: {
    status: 404,
    title: "Top-up request not found",
    sqlstate: "PT404",
    retryable: false,
    hint: "There is no such top-up request of that user.",
  },
  top_up_already_settled: {
    status: 409,
    title: "Top-up already settled",
    sqlstate: "PT409",
    retryable: false,
    hint: "The request has been settled otherwise. Nothing was changed.",
  },
  grant_already_voided: {
    status: 409,
    title: "Grant already voided",
    sqlstate: "PT409",
    retryable: false,
    hint: "The grant has been ended before. Nothing was changed.",
  },
  capture_exceeds_hold: {
    status: 409,
    title: "Capture exceeds hold",
    sqlstate: "PT409",
    retryable: false,
    hint: "Capture no more than was held, or choose deduct or cap.",
  },
  not_refundable: {
    status: 409,
    title: "Not refundable",
    sqlstate: "PT409",
    retryable: false,
    hint: "Only deductions can be refunded.",
  },
  refund_exceeds_charge: {
    status: 409,
    title: "Refund exceeds charge",
    sqlstate: "PT409",
    retryable: false,
    hint: "No more can be refunded than is left of the charge.",
  },
  payment_already_decided: {
    status: 409,
    title: "Payment already decided",
    sqlstate: "PT409",
    retryable: false,
    hint: "The payment has been decided otherwise. Nothing was changed.",
  },
  not_due_yet: {
    status: 409,
    title: "Not due yet",
    sqlstate: "PT409",
    retryable: false,
    hint: "The next period has not begun.",
  },
  not_applied: {
    status: 424,
    title: "Not applied",
    sqlstate: "PT424",
    retryable: false,
    hint: "Another item of the batch failed, and it was to be all or nothing. Send the batch again without it.",
  },
  already_in_team: {
    status: 409,
    title: "Already in a team",
    sqlstate: "PT409",
    retryable: false,
    hint: "A member has one payer, and teams do not nest. Nothing was changed.",
  },
  invalid_provider_event: {
    status: 400,
    title: "Invalid provider event",
    sqlstate: "PT400",
    retryable: false,
    hint: "Send what the provider's event says, in the stated form.",
  },
  balance_limit_exceeded: {
    status: 409,
    title: "Balance limit exceeded",
    sqlstate: "PT409",
    retryable: false,
    hint: "The account cannot hold that many tokens.",
  },
  ledger_is_append_only: {
    status: 403,
    title: "The ledger is append-only",
    sqlstate: "42501",
    retryable: false,
    hint: "Book a correction instead.",
  },
  insufficient_balance: {
    status: 402,
    title: "Insufficient balance",
    sqlstate: null,
    retryable: false,
    hint: "Nothing was changed. Add tokens, or ask for fewer.",
  },
  call_already_made: {
    status: 409,
    title: "Call already made",
    sqlstate: null,
    retryable: false,
    hint: "A call with that key is running, or has been paid for. Use a new key for a new call.",
  },
  provider_refused: {
    status: 400,
    title: "Refused by the AI provider",
    sqlstate: null,
    retryable: false,
    hint: "The AI provider does not take this request. Check the model and what you ask of it.",
  },
  provider_failed: {
    status: 502,
    title: "AI provider failed",
    sqlstate: null,
    retryable: true,
    hint: "The AI provider gave no whole answer. Try again.",
  },
  provider_timeout: {
    status: 504,
    title: "AI provider timed out",
    sqlstate: null,
    retryable: true,
    hint: "The AI provider took too long. Try again, or ask for a shorter answer.",
  },
  busy: {
    status: 503,
    title: "Busy",
    sqlstate: "PT503",
    retryable: true,
    hint: "The account is locked by other work. Try again with the same key.",
  },
  internal_error: {
    status: 500,
    title: "Internal error",
    sqlstate: null,
    retryable: false,
    hint: "Report the instance of this answer; the log has the cause.",
  },
} as const satisfies Record<string, ErrorKind>;

/** The name of an error: `code` in a problem, the message of the exception in SQL. */
export type Slug = keyof typeof errors;

/** Whether that text is the name of a registered error. */
export function isSlug(text: string): text is Slug {
  return Object.hasOwn(errors, text);
}
