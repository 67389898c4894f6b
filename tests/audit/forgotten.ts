/**
 * Every column of the books that can hold words, and what becomes of it when a user is forgotten. Written by hand; a test
 * holds it against the catalogue, so a new column has to be thought of here, and the guide's table is made of it.
 */

/** What becomes of it, and why. */
export interface Fate {
  kept?: string;
  emptied?: string;
}

const kept = (why: string): Fate => ({ kept: why });
const emptied = (how: string): Fate => ({ emptied: how });

const slug = "a word of a fixed list, or the name of an action, a plan, a pack or a rule";
const whole = "not of a user";
const atProvider =
  "the payment provider's own name for it, by which later refunds and disputes find their user; only the provider knows the person: erase it there";
const reason = emptied("`erased` in its place; NULL stays NULL");
const ownOnly = emptied("what callers wrote; what the books wrote (a source, a date, a plan) stays");

const each = (columns: string, fate: Fate): Record<string, Fate> =>
  Object.fromEntries(columns.split(" ").map((column) => [column, fate]));

/** By table, as Postgres writes its name. */
export const forgotten: Record<string, Record<string, Fate>> = {
  token_accounts: { ...each("state", kept(slug)) },
  token_action_costs: { ...each("action_type", kept(whole)) },
  token_grant_types: { ...each("grant_type pays_for", kept(whole)) },
  token_alert_rules: { ...each("kind plan_type rule", kept(slug)) },
  token_alerts: {
    ...each("kind rule", kept(slug)),
    payload: emptied("the `reason`; numbers and ids stay"),
  },
  token_balances: {
    grant_type: kept(slug),
    legacy_transaction_id: kept("an id of the old app's"),
    pays_for: kept("names of actions and models"),
    currency: kept(slug),
    metadata: ownOnly,
  },
  token_default_spend_caps: { ...each("actor_role plan_type reason spend_window", kept(whole)) },
  token_holds: { ...each("action_type actor_role status", kept(slug)), metadata: emptied("`{}`") },
  token_legacy_transactions: {
    legacy_id: kept("an id of the old app's"),
    action_type: kept(slug),
    metadata: ownOnly,
  },
  token_model_prices: { ...each("model source", kept(whole)) },
  token_model_rates: { ...each("model_pattern", kept(whole)) },
  token_packs: { ...each("currency former_stripe_price_ids name pack_type stripe_price_id", kept(whole)) },
  token_payments: {
    ...each("currency from_plan pack_type provider status to_plan", kept(slug)),
    provider_payment_id: kept(atProvider),
    idempotency_key: kept("one key, one effect, for ever; letters, digits and `. _ : -` only"),
    terms: kept("what was bought, as the catalogue said it"),
    reason,
  },
  token_plans: {
    ...each(
      "billing_cycle currency features former_paypal_plan_ids former_stripe_price_ids grant_type issue_every issue_on name paypal_plan_id plan_type stripe_price_id",
      kept(whole),
    ),
  },
  token_spend_caps: { ...each("actor_role spend_window", kept(slug)), reason },
  token_storage_quotas: { metadata: ownOnly },
  token_top_up_requests: {
    ...each("currency pack_type plan_type status", kept(slug)),
    customer_id: kept(atProvider),
    reason,
  },
  token_top_ups: { ...each("pack_type plan_type", kept(slug)) },
  token_transactions: {
    ...each("action_type actor_role entry_type", kept(slug)),
    reason: emptied(
      "`erased` in its place, after `goodwill` or `reconciliation` where it began so; what the books say themselves stays",
    ),
    metadata: emptied("`{}`; of an opening balance, a void or a change of plan what the books wrote stays"),
    request: emptied("its `reason` and `error_message`; numbers stay"),
    idempotency_key: kept("one key, one effect, for ever; letters, digits and `. _ : -` only"),
    terms: kept("amounts, dates and ids of what began with the entry"),
  },
  token_usage: {
    action_type: kept(slug),
    model_used: kept("the name of a model"),
    error_message: emptied("NULL"),
    metadata: emptied("`{}`; from before the books its `request_id` stays, by which doubles are known"),
  },
  "tokenbook.acknowledged_findings": { ...each("actor_role", kept(slug)), reason },
  "tokenbook.admins": {
    added_by: kept("who made an administrator; `tokenbook admin remove` takes the row away"),
    replaced_role: kept("a role of the app's; `tokenbook admin remove` puts it back"),
  },
  "tokenbook.archived_profile_counters": {},
  "tokenbook.burn_orders": { ...each("burn_order", kept(whole)) },
  "tokenbook.changes": {
    ...each("actor_role change", kept(slug)),
    reason,
    details: kept("what was set, by name: numbers, slugs and ids"),
  },
  "tokenbook.chosen_limits": { ...each("name", kept(slug)) },
  "tokenbook.chosen_model_policy": { ...each("policy", kept(whole)) },
  "tokenbook.chosen_referral_policy": {},
  "tokenbook.chosen_trial_policy": { ...each("policy", kept(whole)) },
  "tokenbook.cleared_token_balances": {
    why: kept("which rule of a migration it was"),
    grant_row: emptied("its `metadata`; numbers stay"),
  },
  "tokenbook.code_attempts": {},
  "tokenbook.code_redemptions": {},
  "tokenbook.codes": { ...each("digest grant_type name", kept(whole)) },
  "tokenbook.failed_registrations": { error: emptied("the message; the SQLSTATE stays") },
  "tokenbook.ledger_checkpoints": {
    ...each(
      "numbers words",
      emptied("deleted for the accounts in which words went, and computed anew by the next checkpoint"),
    ),
  },
  "tokenbook.upcoming_grants": {},
  "tokenbook.migration_reports": { ...each("migration report", kept(whole)) },
  "tokenbook.provider_customers": { ...each("customer_id event_id provider", kept(atProvider)) },
  "tokenbook.provider_events": {
    ...each("digest event_id event_type provider provider_payment_id", kept(atProvider)),
    facts: kept("amounts, dates and the provider's ids; no names, no addresses"),
  },
  "tokenbook.provider_payments": {
    ...each(
      "currency customer_id disagrees pack_type parked_details parked_reason part_of plan_type price_id provider provider_payment_id subscription_id told_as",
      kept(atProvider),
    ),
  },
  "tokenbook.provider_subscription_events": {
    ...each("digest event_id event_type provider provider_subscription_id", kept(atProvider)),
    facts: kept("dates, states and the provider's ids"),
  },
  "tokenbook.provider_subscriptions": {
    ...each("customer_id plan_type price_id provider provider_subscription_id status", kept(atProvider)),
  },
  "tokenbook.referral_codes": {
    ...each(
      "code",
      emptied(
        "the row is deleted once they are gone from `auth.users`; until then they refer others with it",
      ),
    ),
  },
  "tokenbook.referrals": {},
  "tokenbook.set_aside_accounts": { reason: emptied("the message; the SQLSTATE stays") },
  "tokenbook.shadow": {
    ...each("amount_column grant_type mode schema_name source table_name user_column", kept(whole)),
  },
  "tokenbook.shadow_balances": { source: kept("which counter it is of") },
  "tokenbook.shadow_changes": {
    ...each(
      "error kind whose",
      kept("a change of the counter that waits: the row is gone once it is booked"),
    ),
  },
  "tokenbook.subjects": {
    ...each(
      "issuer subject",
      emptied("the row is deleted once they are gone from `auth.users`; until then they sign in with it"),
    ),
  },
  "tokenbook.subscriptions": {
    ...each("billing_cycle next_plan_type payment_method plan_type", kept(slug)),
    payment_id: kept(atProvider),
    beside: kept("plans, dates and ids of payments"),
    schedule: kept("when a plan gives tokens"),
    features: kept("what the plan includes, from the catalogue"),
  },
  "tokenbook.moves": {
    ...each("direction former_state phase", kept(slug)),
    place: kept("what a project is called"),
    proof: kept("numbers and digests"),
  },
  "tokenbook.test_users": {},
  "tokenbook.token_alert_states": { ...each("rule", kept(slug)) },
  "tokenbook.trial_keys": { ...each("key", kept(whole)) },
  "tokenbook.trials_taken": {
    ...each(
      "identifier",
      kept(
        "a keyed digest beside no user id: that somebody had a trial, so that nobody has two; it cannot be read back",
      ),
    ),
  },
  "tokenbook.sales": { schedule: kept("numbers and moments"), currency: kept(slug) },
  "tokenbook.sale_accounts": {},
  "tokenbook.sale_rounds": {},
  "tokenbook.revenue_totals": { currency: kept(slug) },
  "tokenbook.archived_usage": {
    action_type: kept(slug),
    model_used: kept("the name of a model"),
  },
  "tokenbook.archived_usage_receipts": {},
  "tokenbook.usage_archives": {
    digest: kept(whole),
    name: kept("what a file is called; the file itself is yours to keep or erase"),
  },
  "tokenbook.usage_marks": {},
  "tokenbook.usage_totals": {
    ...each("action_type span", kept(slug)),
    model_used: kept("the name of a model"),
  },
  "tokenbook.webhook_deliveries": {
    ...each("endpoint kind status", kept(slug)),
    event_id: kept("an id"),
    payload: kept(
      "numbers, ids (a payment provider's too) and names of lists: no words, and for 30 days. An alert's are read from its row",
    ),
    last_error: emptied("NULL"),
  },
  "tokenbook.webhook_endpoints": { ...each("kinds name url", kept(whole)) },
};

/** What becomes of a column; undefined: nobody has decided. */
export const fateOf = (table: string, column: string): Fate | undefined => forgotten[table]?.[column];
