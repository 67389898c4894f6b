/**
 * Who may do what with everything in the schemas public and tokenbook: the matrix that P10 and P11 try,
 * cell by cell. What is here and not in the database, or there and not here, is a violation.
 */
import type { Caller } from "../../support/callers.ts";

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
      "public.token_legacy_transactions",
      "public.token_payments",
      "public.token_team_members",
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
      "public.token_storage_quotas",
      "public.token_subscriptions",
      "tokenbook.subscriptions", // by that view alone: no client can name it
      "public.token_counters",
      // older names, as views
      "public.payments",
      "public.user_storage",
      "public.user_subscriptions",
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
    relations: [
      "public.token_action_costs",
      "public.token_model_prices",
      "public.token_default_spend_caps",
      "public.token_price_ids",
    ],
  },
  {
    // the price list hangs in the shop window
    sees: sees("common", "common", "common", "common", "common", "common", "common", "no"),
    relations: ["public.token_plans", "public.token_packs"],
  },
  {
    sees: sees("no", "no", "no", "no", "no", "no", "no", "no"),
    relations: [
      "tokenbook.acknowledged_findings",
      "tokenbook.admins",
      "tokenbook.project_settings",
      "tokenbook.archived_profile_counters",
      "tokenbook.archived_profile_counters_id_seq",
      "tokenbook.burn_orders",
      "tokenbook.changes",
      "tokenbook.changes_id_seq",
      "tokenbook.chosen_limits",
      "tokenbook.cleared_token_balances",
      "tokenbook.cleared_token_balances_id_seq",
      "tokenbook.failed_registrations",
      "tokenbook.failed_registrations_id_seq",
      "tokenbook.ledger_checkpoints",
      "tokenbook.migration_reports",
      "tokenbook.migration_reports_id_seq",
      "tokenbook.provider_customers",
      "tokenbook.provider_events",
      "tokenbook.project_alert_numbers",
      "tokenbook.provider_payments",
      "tokenbook.provider_subscription_events",
      "tokenbook.provider_subscriptions",
      "tokenbook.set_aside_accounts",
      "tokenbook.token_alert_states",
    ],
  },
];

function sees(...of: [Sight, Sight, Sight, Sight, Sight, Sight, Sight, Sight]): Record<Caller, Sight> {
  const [anon, self, other, nobody, admin, former, server, stranger] = of;
  return { anon, self, other, nobody, admin, "former admin": former, server, stranger };
}

/**
 * How far a caller of a function gets:
 * - `ungranted`: Postgres lets him not even in
 * - `refused`: he is let in, and the function's first act is to refuse him
 * - `may`: he gets past the rights; what comes of it depends on what he asks for
 */
export type Reach = "ungranted" | "refused" | "may";

interface Callable {
  reach: Record<Caller, Reach>;
  /** By name: a second function of the same name is a violation too. */
  functions: readonly string[];
}

/**
 * Calling. What clients can name is a thin wrapper in public; the function of the same name in tokenbook
 * does the work as its owner, and asks who is calling itself. So both have the same row.
 */
export const calling: Callable[] = [
  {
    reach: reach("ungranted", "may", "refused", "refused", "may", "refused", "may", "ungranted"),
    functions: both(
      "capture_tokens",
      "create_token_payment",
      "deduct_tokens_with_fifo",
      "estimate_tokens",
      "explain_token_charge",
      "get_token_spend_caps",
      "get_token_balance_as_of",
      "get_token_history",
      "get_user_storage_quota",
      "get_user_token_balance",
      "list_token_team_members",
      "release_tokens",
      "reserve_tokens",
      "set_token_top_up",
      "track_token_usage",
    ),
  },
  {
    reach: reach("ungranted", "refused", "refused", "refused", "may", "refused", "may", "ungranted"),
    functions: both(
      "acknowledge_token_finding",
      "add_token_team_member",
      "adjust_tokens",
      "approve_token_payment",
      "assign_parked_token_payment",
      "dismiss_parked_token_payment",
      "check_token_synchronization",
      "checkpoint_token_ledger",
      "find_token_discrepancies",
      "get_recent_token_usage",
      "get_users_with_high_token_usage",
      "get_users_with_low_token_balance",
      "get_users_without_token_balance",
      "grant_tokens",
      "list_parked_token_payments",
      "list_token_changes",
      "reconcile_user_token_balance",
      "refund_token_payment",
      "refund_tokens",
      "reject_token_payment",
      "remove_token_team_member",
      "remove_token_alert_rule",
      "renew_token_subscription",
      "replay_token_balances",
      "restate_token_balances",
      "retry_token_alerts",
      "reverse_token_restatement",
      "set_token_account_state",
      "set_token_pack",
      "set_token_plan",
      "set_token_spend_cap",
      "set_token_alert_rule",
      "settle_token_top_up",
      "change_token_plan",
      "verify_token_checkpoint",
      "verify_token_ledger",
      "void_token_grant",
    ),
  },
  {
    // what token_subscriptions and the policy of token_storage_quotas ask as their caller, of rows that the caller has
    reach: reach("ungranted", "may", "may", "may", "may", "may", "may", "ungranted"),
    functions: [
      "tokenbook.grace_of",
      "tokenbook.is_kept_beside",
      "tokenbook.is_storage_in_force",
      "tokenbook.newest_slot_at",
      "tokenbook.next_slot_at",
      "tokenbook.period_end",
      "tokenbook.plan_beside",
      "tokenbook.plan_ends_at",
      "tokenbook.plan_schedule",
      "tokenbook.slot_number",
      "tokenbook.slot_start",
      "tokenbook.slot_tokens_due",
      "tokenbook.subscription_at",
    ],
  },
  {
    reach: reach(
      "ungranted",
      "ungranted",
      "ungranted",
      "ungranted",
      "ungranted",
      "ungranted",
      "may",
      "ungranted",
    ),
    functions: both(
      "arm_token_alerts",
      "check_token_installation",
      "claim_token_alerts",
      "deduct_tokens_batch",
      "expire_old_token_grants",
      "record_token_payment_event",
      "record_token_subscription_event",
      "set_token_burn_order",
      "set_token_limit",
      "settle_token_alert",
    ),
  },
  {
    reach: reach(
      "ungranted",
      "ungranted",
      "ungranted",
      "ungranted",
      "ungranted",
      "ungranted",
      "ungranted",
      "ungranted",
    ),
    functions: [
      "tokenbook.alert_rules_of",
      "tokenbook.burn_key",
      "tokenbook.expiry_as_granted",
      "tokenbook.is_expiring_first_at",
      "tokenbook.last_repair",
      "tokenbook.open_grants_expiring_first",
      "tokenbook.open_grants_fifo",
      "tokenbook.open_grants_in_order",
      "tokenbook.describe_allocations",
      "tokenbook.audit_trail",
      "tokenbook.authorize",
      "tokenbook.authorize_operator",
      "tokenbook.get_balance_fast_path",
      "tokenbook.parse_batch_item",
      "tokenbook.record_transaction",
      "tokenbook.record_expiries",
      "tokenbook.describe_cap",
      "tokenbook.check_action_type",
      "tokenbook.check_body",
      "tokenbook.check_request",
      "tokenbook.check_offer",
      "tokenbook.check_price_ids",
      "tokenbook.check_purchase",
      "tokenbook.find_offer",
      "tokenbook.give_what_was_bought",
      "tokenbook.keep_former_ids",
      "tokenbook.write_offer",
      "tokenbook.check_scope",
      "tokenbook.is_frozen",
      "tokenbook.is_set_aside",
      "tokenbook.is_user",
      "tokenbook.record_change",
      "tokenbook.require_active",
      "tokenbook.check_tokens",
      "tokenbook.check_usage",
      "tokenbook.chain_ledger",
      "tokenbook.checkpoint_line",
      "tokenbook.choose_grants",
      "tokenbook.claw_back",
      "tokenbook.cross_thresholds",
      "tokenbook.deduct_full_path",
      "tokenbook.deduction_receipt",
      "tokenbook.deduction_request",
      "tokenbook.bring_due_forward",
      "tokenbook.due_work",
      "tokenbook.find_breaches",
      "tokenbook.first_due_alerts",
      "tokenbook.find_replay",
      "tokenbook.describe_finding",
      "tokenbook.declared_rights",
      "tokenbook.expose",
      "tokenbook.own_relations",
      "tokenbook.present_rights",
      "tokenbook.return_tokens",
      "tokenbook.grant_lifetime",
      "tokenbook.grant_of_period",
      "tokenbook.grant_terms",
      "tokenbook.counter_at_opening",
      "tokenbook.grants_at_opening",
      "tokenbook.hold_receipt",
      "tokenbook.date_default_plan",
      "tokenbook.grant_initial_plan",
      "tokenbook.is_account_lost",
      "tokenbook.is_ledger_lost",
      "tokenbook.is_admin",
      "tokenbook.lock_settings",
      "tokenbook.outdate_alert_thresholds",
      "tokenbook.alert_kinds",
      "tokenbook.append_transactions",
      "tokenbook.answer_busy",
      "tokenbook.check_open_holds",
      "tokenbook.describe_refusal",
      "tokenbook.has_backlog",
      "tokenbook.limit_of",
      "tokenbook.settle_backlog",
      "tokenbook.sweep_accounts",
      "tokenbook.try_reconcile",
      "tokenbook.grant_action_types",
      "tokenbook.grant_types",
      "tokenbook.limits",
      "tokenbook.recorded_grant_actions",
      "tokenbook.say_one_of",
      "tokenbook.describe_allocation",
      "tokenbook.describe_grant",
      "tokenbook.restore_settings",
      "tokenbook.settings_lock",
      "tokenbook.check_account_rules",
      "tokenbook.check_grant_rules",
      "tokenbook.check_transaction_rules",
      "tokenbook.issue_grant",
      "tokenbook.describe_item_error",
      "tokenbook.keep_ledger_append_only",
      "tokenbook.live_difference",
      "tokenbook.lock_account",
      "tokenbook.lock_accounts",
      "tokenbook.lock_hold",
      "tokenbook.check_payment_event",
      "tokenbook.facts_of_payment",
      "tokenbook.joined_payments",
      "tokenbook.keep_payment_facts",
      "tokenbook.lock_customer",
      "tokenbook.lock_provider_payment",
      "tokenbook.parked_reasons",
      "tokenbook.measure_usage",
      "tokenbook.move_plan_limit",
      "tokenbook.usage_before_books",
      "tokenbook.slice_allocations",
      "tokenbook.paying_account",
      "tokenbook.paying_accounts",
      "tokenbook.queue_for_account",
      "tokenbook.raise_alerts",
      "tokenbook.reconcile",
      "tokenbook.refund_receipt",
      "tokenbook.refuse",
      "tokenbook.refuse_row",
      "tokenbook.register_user",
      "tokenbook.close_hold",
      "tokenbook.refresh_alert_thresholds",
      "tokenbook.repay_debt",
      "tokenbook.replay",
      "tokenbook.report",
      "tokenbook.request_top_up",
      "tokenbook.require_user",
      "tokenbook.reserved_action_types",
      "tokenbook.restore_clawback",
      "tokenbook.roll_over",
      "tokenbook.settle_incoming",
      "tokenbook.settle_payment",
      "tokenbook.settle_refunds",
      "tokenbook.settle_and_describe_payment",
      "tokenbook.spend_tokens",
      "tokenbook.spend_caps_of",
      "tokenbook.spend_headroom",
      "tokenbook.spend_tokens_batch",
      "tokenbook.start_period",
      "tokenbook.take_from_grants",
      "tokenbook.withdraw_rights",
      "tokenbook.apply_provider_terms",
      "tokenbook.begin_plan",
      "tokenbook.change_subscription",
      "tokenbook.check_subscription_event",
      "tokenbook.facts_of_subscription",
      "tokenbook.hand_plan_over",
      "tokenbook.keep_subscription",
      "tokenbook.next_plan_change",
      "tokenbook.provider_terms",
      "tokenbook.settle_plan_of_payment",
      "tokenbook.settle_subscription",
      "tokenbook.record_subscription",
      "tokenbook.subscription_course",
      "tokenbook.due_slots",
      "tokenbook.due_slots_as_of",
      "tokenbook.issue_slots",
      "tokenbook.plan_tokens_at",
      "tokenbook.schedule_due_at",
      "tokenbook.scheduled_slots",
      "tokenbook.skip_missed_slots",
      "tokenbook.slot_grant_id",
      "tokenbook.slot_share",
      "tokenbook.slots_between",
      "tokenbook.slots_until",
      "tokenbook.subscription_terms",
      "tokenbook.tell_of_parked_payment",
      "tokenbook.tell_of_subscription",
      "tokenbook.spending_time",
      "tokenbook.describe_team",
      "tokenbook.next_ledger_user",
      "tokenbook.token_differences",
      "tokenbook.tokens_due",
      "tokenbook.wait_for_account",
      "tokenbook.warn_of_expiry",
      "tokenbook.write_alert",
    ],
  },
];

function reach(...of: [Reach, Reach, Reach, Reach, Reach, Reach, Reach, Reach]): Record<Caller, Reach> {
  const [anon, self, other, nobody, admin, former, server, stranger] = of;
  return { anon, self, other, nobody, admin, "former admin": former, server, stranger };
}

function both(...names: string[]): string[] {
  return names.flatMap((name) => [`public.${name}`, `tokenbook.${name}`]);
}
