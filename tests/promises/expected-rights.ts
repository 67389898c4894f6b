/**
 * Who may do what with everything in the schemas public and private: the matrix that P10 and P11 try,
 * cell by cell. What is here and not in the database, or there and not here, is a violation.
 */
import type { Caller } from "../support/cast.ts";

/**
 * What a caller sees of a relation, whether he selects, copies or asks the API:
 * - `no`: he is refused
 * - `none`: he is let in, and there is nothing for him
 * - `own`: rows that are his, or that he has a part in, and nobody else's
 * - `common`: rows that are nobody's
 * - `own, common`: both, and nobody else's
 * - `all`: everybody's
 */
export type Sight = "no" | "none" | "own" | "common" | "own, common" | "all";

interface Readable {
  sees: Record<Caller, Sight>;
  relations: readonly string[];
}

/**
 * Reading. Writing needs no table: nobody inserts, updates, deletes, truncates, upserts, merges or
 * copies into any of them, the server included, and nobody creates anything in the two schemas.
 */
export const reading: Readable[] = [
  {
    sees: sees("no", "own", "own", "none", "none", "none", "all", "no"),
    relations: [
      "public.legacy_token_transactions",
      "public.payments",
      "public.team_members",
      "public.token_accounts",
      "public.token_alerts",
      "public.token_balances",
      "public.token_holds",
      "public.token_spend_caps",
      "public.token_top_up_requests",
      "public.token_top_ups",
      "public.token_transactions",
      "public.token_usage",
      "public.token_usage_history",
      "public.user_profiles",
      "public.user_storage",
      "public.user_subscriptions",
      "public.user_token_counters",
    ],
  },
  {
    // a rule for everyone or for a plan is everybody's to see
    sees: sees("no", "own, common", "own, common", "common", "common", "common", "all", "no"),
    relations: ["public.token_alert_rules"],
  },
  {
    // what things cost, to whoever is signed in
    sees: sees("no", "common", "common", "common", "common", "common", "common", "no"),
    relations: ["public.ai_action_costs", "public.ai_model_prices", "public.default_spend_caps"],
  },
  {
    // the price list hangs in the shop window
    sees: sees("common", "common", "common", "common", "common", "common", "common", "no"),
    relations: ["public.token_plans"],
  },
  {
    sees: sees("no", "no", "no", "no", "no", "no", "no", "no"),
    relations: [
      "private.admins",
      "private.rules_in_force",
      "private.archived_profile_counters",
      "private.archived_profile_counters_id_seq",
      "private.burn_orders",
      "private.cleared_token_balances",
      "private.cleared_token_balances_id_seq",
      "private.failed_registrations",
      "private.failed_registrations_id_seq",
      "private.migration_reports",
      "private.migration_reports_id_seq",
      "private.provider_events",
      "private.provider_payments",
      "private.token_alert_states",
    ],
  },
];

function sees(...of: [Sight, Sight, Sight, Sight, Sight, Sight, Sight, Sight]): Record<Caller, Sight> {
  const [anon, self, other, nobody, admin, former, server, stranger] = of;
  return { anon, self, other, nobody, admin, "former admin": former, server, stranger };
}

/**
 * How far a caller of a function gets:
 * - `door`: Postgres lets him not even in
 * - `guard`: he is let in, and the function's first act is to refuse him
 * - `may`: he gets past the rights; what comes of it depends on what he asks for
 */
export type Reach = "door" | "guard" | "may";

interface Callable {
  reach: Record<Caller, Reach>;
  /** By name: a second function of the same name is a violation too. */
  functions: readonly string[];
}

/**
 * Calling. What clients can name is a thin wrapper in public; the function of the same name in private
 * does the work as its owner, and asks who is calling itself. So both have the same row.
 */
export const calling: Callable[] = [
  {
    reach: reach("door", "may", "guard", "guard", "may", "guard", "may", "door"),
    functions: both(
      "capture_tokens",
      "create_payment",
      "deduct_tokens_with_fifo",
      "estimate_tokens",
      "explain_token_charge",
      "get_spend_caps",
      "get_token_balance_as_of",
      "get_token_history",
      "get_user_storage_quota",
      "get_user_token_balance",
      "list_team_members",
      "release_tokens",
      "reserve_tokens",
      "set_auto_top_up",
      "track_token_usage",
    ),
  },
  {
    reach: reach("door", "guard", "guard", "guard", "may", "guard", "may", "door"),
    functions: both(
      "add_team_member",
      "adjust_tokens",
      "approve_payment",
      "assign_parked_payment",
      "check_token_synchronization",
      "find_token_discrepancies",
      "get_recent_token_usage",
      "get_users_with_high_usage",
      "get_users_with_low_balance",
      "get_users_without_balance",
      "grant_tokens",
      "list_parked_payments",
      "reconcile_user_token_balance",
      "refund_payment",
      "refund_tokens",
      "reject_payment",
      "remove_team_member",
      "remove_token_alert_rule",
      "renew_subscription",
      "replay_token_balances",
      "restate_token_balances",
      "retry_token_alerts",
      "reverse_restatement",
      "set_spend_cap",
      "set_token_alert_rule",
      "settle_top_up",
      "upgrade_plan",
      "verify_token_ledger",
      "void_grant",
    ),
  },
  {
    reach: reach("door", "door", "door", "door", "door", "door", "may", "door"),
    functions: both(
      "arm_token_alerts",
      "claim_token_alerts",
      "deduct_tokens_batch",
      "expire_old_token_grants",
      "record_provider_event",
      "set_burn_order",
      "settle_token_alert",
    ),
  },
  {
    reach: reach("door", "door", "door", "door", "door", "door", "door", "door"),
    functions: [
      "private.alert_rules_of",
      "private.allocations",
      "private.audit_trail",
      "private.authorize",
      "private.authorize_operator",
      "private.balance_at_once",
      "private.batch_entry",
      "private.book",
      "private.book_expiries",
      "private.capped",
      "private.check_action_type",
      "private.check_request",
      "private.check_tokens",
      "private.check_usage",
      "private.choose_grants",
      "private.claw_back",
      "private.count_spending",
      "private.cross_thresholds",
      "private.deduct",
      "private.deduction_receipt",
      "private.deduction_request",
      "private.due_by",
      "private.find_replay",
      "private.finding",
      "private.give_back",
      "private.grant_lifetime",
      "private.grants_at_opening",
      "private.hold_receipt",
      "private.initialise",
      "private.is_admin",
      "private.is_sound_account",
      "private.is_sound_grant",
      "private.is_sound_transaction",
      "private.issue_grant",
      "private.item_error",
      "private.keep_ledger_append_only",
      "private.live_difference",
      "private.lock_account",
      "private.lock_accounts",
      "private.lock_hold",
      "private.lock_provider_payment",
      "private.measure_usage",
      "private.move_mark",
      "private.old_use",
      "private.parts_between",
      "private.paying_account",
      "private.paying_accounts",
      "private.period_end",
      "private.queue_for_account",
      "private.raise_alerts",
      "private.reconcile",
      "private.refund_receipt",
      "private.refuse",
      "private.register_user",
      "private.release_hold",
      "private.renew_alert_marks",
      "private.repay_debt",
      "private.replay",
      "private.report",
      "private.request_top_up",
      "private.require_user",
      "private.reserved_action_types",
      "private.restore_clawback",
      "private.roll_over",
      "private.settle_incoming",
      "private.settle_payment",
      "private.settle_refunds",
      "private.settled",
      "private.spend",
      "private.spend_caps_of",
      "private.spend_headroom",
      "private.spend_many",
      "private.start_period",
      "private.take_from_grants",
      "private.take_up_next_plan",
      "private.taken_at",
      "private.team_of",
      "private.token_differences",
      "private.tokens_due",
      "private.wait_for_account",
      "private.warn_of_expiry",
      "private.write_alert",
    ],
  },
];

function reach(...of: [Reach, Reach, Reach, Reach, Reach, Reach, Reach, Reach]): Record<Caller, Reach> {
  const [anon, self, other, nobody, admin, former, server, stranger] = of;
  return { anon, self, other, nobody, admin, "former admin": former, server, stranger };
}

function both(...names: string[]): string[] {
  return names.flatMap((name) => [`public.${name}`, `private.${name}`]);
}
