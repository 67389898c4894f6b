/**
 * Every column of the books: how it can go wrong, and which invariant then says so. Written by hand
 * against the documented rules; the test holds it against the catalogue, so a new column has to be
 * thought of here before anything else passes.
 */
import type { Way } from "./any-corruption.ts";

/** One way in which a field is made wrong. */
export interface Corruption {
  /** The new value in SQL; `x` is the row, `$2` a small number from 1. */
  to: string;
  /** Which rows can be made wrong so, in SQL; default all. */
  where?: string;
  /** The invariant that must be among those named. */
  named: RegExp;
}

/** Some change of a column that nothing finds. */
export interface Free {
  /** Why. */
  because: string;
  /** In which ways; left out: in any. */
  ways?: readonly Way[];
  /** In which rows, in SQL; left out: in all. */
  where?: string;
}

/** What is known of a column. */
export interface Field {
  found: Corruption[];
  free: Free[];
}

const field = (found: Corruption[], ...free: (string | Free)[]): Field => ({
  found,
  free: free.map((one) => (typeof one === "string" ? { because: one } : one)),
});
const unseen = (because: string): Field => field([], because);

/** A table of the list, with its schema. */
export const qualified = (table: string) => (table.includes(".") ? table : `public.${table}`);

/** A number that is off, in either direction. */
const off = (column: string, named: RegExp, where?: string): Corruption[] =>
  ["+", "-"].map((sign) => ({ to: `x.${column} ${sign} $2`, named, ...(where && { where }) }));

/** A moment that is hours off, in either direction. */
const hoursOff = (column: string, named: RegExp, where?: string): Corruption[] =>
  ["+", "-"].map((sign) => ({
    to: `x.${column} ${sign} $2 * interval '1 hour'`,
    named,
    ...(where && { where }),
  }));

const another = "gen_random_uuid()";

const gave = /^I4 a grant is what its transaction gave$/;
const kind = /^I4 an entry is of one kind$/;
const hold = /^I4 a hold is what its entry says$/;
const history = /^I4 a hold is what its history says$/;
const ofHold = /^I4 an entry of a hold is like it$/;
const ofCharge = /^I4 a refund is of its charge$/;
const hasGiver = `exists (select from public.token_transactions t
  where t.user_id = x.user_id and t.entry_type = 'grant' and t.grant_ids[1] = x.id)`;
const inLedger = (condition: string) => `exists (select from public.token_transactions t
  where t.user_id = x.user_id and x.id = any (t.grant_ids) and ${condition})`;

const entryTypes = [
  "opening_balance",
  "grant",
  "deduction",
  "expiry",
  "clawback",
  "restoration",
  "debt_repayment",
  "usage",
  "restatement",
  "nonsense",
  "hold",
  "release",
  "refund",
  "void",
];
const grantActions = `('subscription_grant', 'renewal_grant', 'trial_grant', 'token_pack_purchase', 'admin_grant')`;

const provenance = "where it came from: nothing is computed from it, and no second record has it";
const attached = "what the caller attached; the books do not read it";
const measured = "what was measured; the charge is made of tokens_used, tokens_uncovered and cost_estimate";

/** By table and column. */
export const fields: Record<string, Record<string, Field>> = {
  token_accounts: {
    user_id: field([{ to: another, named: /^I[23] .*account/ }]),
    tokens_remaining: field(off("tokens_remaining", /^I2 account = its grants$/)),
    tokens_reserved: field(off("tokens_reserved", /^I3 ledger = account$/)),
    tokens_used: field(off("tokens_used", /^I3 tokens used$/)),
    tokens_expired: field(off("tokens_expired", /^I3 tokens expired$/)),
    tokens_owed: field(off("tokens_owed", /^I3 debt$/)),
    total_cost: field([
      ...off("total_cost", /^I3 total cost$/),
      { to: "x.total_cost + 0.0001 * $2", named: /^I3 total cost$/ },
    ]),
    last_transaction_id: field(off("last_transaction_id", /^I3 the account knows its last transaction$/)),
    next_due_at: field(
      ["null", "x.next_due_at + $2 * interval '1 second'"].map((to) => ({
        to,
        where: `x.next_due_at = least(
          (select min(b.expires_at) from public.token_balances b where b.user_id = x.user_id and b.is_open),
          (select min(h.expires_at) from public.token_holds h where h.user_id = x.user_id and h.status = 'open'))`,
        named: /^I7 the account is due no later than its (grants|holds)$/,
      })),
      "earlier than need be: allowed, the next look at the grants puts it right",
    ),
    alert_below: unseen("of alerts, on which no token depends; tests/alerts asks for it"),
    alert_above: unseen("of alerts, on which no token depends; tests/alerts asks for it"),
    next_alert_at: unseen("of alerts, on which no token depends; tests/alerts asks for it"),
    warns_of_expiry: unseen("of alerts, on which no token depends; tests/alerts asks for it"),
    alerts_version: unseen("of alerts, on which no token depends; tests/alerts asks for it"),
    last_alert_id: unseen("of alerts, on which no token depends; tests/alerts asks for it"),
    spent_at: unseen("of which day the three counts are; with them they are counted again"),
    spent_day: field(off("spent_day", /^I3 spent in this day, week and month$/)),
    spent_week: field(off("spent_week", /^I3 spent in this day, week and month$/)),
    spent_month: field(off("spent_month", /^I3 spent in this day, week and month$/)),
    payer_id: field([{ to: another, named: /^I3 a member has one payer$/ }]),
    updated_at: unseen("when the row last changed, for people; nothing is computed from it"),
  },

  token_balances: {
    user_id: field([{ to: another, named: /^I2 account = its grants$|^I4 an allocation names a grant$/ }]),
    id: field([{ to: another, where: inLedger("true"), named: /^I4 an allocation names a grant$/ }]),
    grant_type: field(
      [
        { to: "'trial'", where: `x.grant_type <> 'trial' and ${hasGiver}`, named: gave },
        {
          to: "'plan'",
          where: `x.grant_type in ('trial', 'purchase', 'admin') and ${hasGiver}`,
          named: gave,
        },
      ],
      "annual, 28day and plan for one another: one action (subscription_grant) gives them all",
    ),
    tokens_granted: field(
      off("tokens_granted", gave, hasGiver),
      "a grant from before the books: they opened with what was left of it",
    ),
    tokens_remaining: field([
      ...off("tokens_remaining", /^I4 a grant is what its history left$/),
      { to: "-$2", named: /^I1 no overspend$/ },
      { to: "x.tokens_granted + $2", named: /^I1 no overspend$/ },
    ]),
    priority: unseen(
      "the order that was wished for, I8: which grant should have paid is for a replay to say",
    ),
    granted_at: field(
      [{ to: "x.granted_at + $2 * interval '1 day'", where: hasGiver, named: gave }],
      "earlier: grants may be backdated",
    ),
    expires_at: field(
      [
        {
          to: "x.granted_at + $2 * interval '1 microsecond'",
          where: inLedger("t.entry_type = 'deduction' and t.reserved_change = 0"),
          named: /^I7 nothing is spent at or after its expiry$/,
        },
        ...["null", "x.expires_at + $2 * interval '1 day'"].map((to) => ({
          to,
          where: inLedger("t.entry_type = 'expiry'"),
          named: /^I7 an expiry is booked when it is due$/,
        })),
        {
          to: "x.expires_at - $2 * interval '1 second'",
          where: `x.is_open and x.expires_at = (select a.next_due_at from public.token_accounts a where a.user_id = x.user_id)`,
          named: /^I7 the account is due no later than its grants$/,
        },
      ],
      "later, as long as it has not run out: no second record has it",
    ),
    is_open: field([{ to: "not x.is_open", named: /^I1 an open grant has tokens$/ }]),
    payment_id: field(
      [
        {
          to: "null",
          where: `x.payment_id is not null and ${inLedger("t.entry_type = 'grant' and t.payment_id is not null")}`,
          named: gave,
        },
        { to: another, named: /^I9 a payment is the user's$/ },
      ],
      "none, where the payment came after its period had been granted",
    ),
    subscription_id: field(
      [
        { to: another, where: hasGiver, named: /^I9 a grant's subscription is the user's$/ },
        {
          to: "null",
          where: "x.period_start is not null",
          named: /^I9 a grant's subscription is the user's$/,
        },
      ],
      "a grant from before the books: it keeps the name that it had",
    ),
    period_start: unseen("which period it was: a unique index keeps it once, and no second record has it"),
    legacy_transaction_id: unseen(provenance),
    rolled_over_from: unseen(provenance),
    voided_at: unseen("when an admin ended it: the entry that did says so, and nothing is computed from it"),
    metadata: unseen(attached),
    created_at: field(
      hoursOff("created_at", gave, hasGiver),
      "a grant from before the books: when it was made is what the old table said",
    ),
  },

  token_transactions: {
    user_id: field([{ to: another, named: /^I3 ledger = account$|^I3 transactions are numbered/ }]),
    id: field([{ to: "x.id + 1000 + $2", named: /^I3 transactions are numbered without gaps$/ }]),
    entry_type: field(
      entryTypes.map((type) => ({ to: `'${type}'`, where: `x.entry_type <> '${type}'`, named: kind })),
    ),
    action_type: field(
      [
        {
          to: "'admin_deduct'",
          where: "x.entry_type = 'deduction' and x.action_type <> 'admin_deduct'",
          named: /^I3 tokens used$/,
        },
        { to: "'chat_conversation'", where: "x.action_type = 'admin_deduct'", named: /^I3 tokens used$/ },
        {
          to: "'something_else'",
          where: `x.entry_type <> 'grant' and exists (select from public.token_usage u where u.user_id = x.user_id and u.transaction_id = x.id)`,
          named: /^I4 usage and transaction say the same$/,
        },
        { to: "'something_else'", where: "x.hold_id is not null", named: ofHold },
        { to: "'something_else'", where: "x.entry_type = 'refund'", named: ofCharge },
        {
          to: "'something_else'",
          where: "x.action_type = x.entry_type and x.entry_type <> 'deduction'",
          named: kind,
        },
        {
          to: "'something_else'",
          where: "x.entry_type = 'grant'",
          named: kind,
        },
        { to: "'expiry'", where: "x.entry_type in ('deduction', 'usage')", named: kind },
        {
          to: "'trial_grant'",
          where: `x.entry_type = 'grant' and x.action_type <> 'trial_grant'`,
          named: gave,
        },
        {
          to: "'subscription_grant'",
          where: `x.action_type = 'trial_grant'`,
          named: gave,
        },
        {
          to: "'admin_grant'",
          where: `x.action_type in ${grantActions} and x.action_type <> 'admin_grant'`,
          named: gave,
        },
      ],
      "one AI action for another, of a deduction without usage: no second record has it",
    ),
    tokens: field([
      ...off("tokens", /^I3 balance after each transaction$/),
      ...off("tokens", /^I4 allocations = transaction$/, "x.reserved_change = 0"),
    ]),
    reserved_change: field([
      ...off("reserved_change", /^I3 reserved = its ledger$/),
      ...off("reserved_change", kind, "x.entry_type not in ('hold', 'release')"),
    ]),
    balance_after: field(off("balance_after", /^I3 balance after each transaction$/)),
    debt_change: field(off("debt_change", /^I3 debt$/)),
    grant_ids: field([
      {
        to: "array_append(x.grant_ids[:cardinality(x.grant_ids) - 1], gen_random_uuid())",
        where: "x.grant_ids <> '{}'",
        named: /^I4 an allocation names a grant$/,
      },
      {
        to: `array[(select b.id from public.token_balances b where b.user_id = x.user_id and b.id <> all (x.grant_ids) limit 1)] || x.grant_ids[2:]`,
        where: `x.grant_ids <> '{}' and exists (select from public.token_balances b
          where b.user_id = x.user_id and b.id <> all (x.grant_ids))`,
        named: /^I4 a grant is what its history left$|^I4 a hold is what its entry says$/,
      },
      { to: "'{}'", where: "x.grant_ids <> '{}'", named: /^I4 an allocation names a grant$/ },
    ]),
    grant_tokens: field([
      ...["+", "-"].map((sign) => ({
        to: `array[x.grant_tokens[1] ${sign} $2] || x.grant_tokens[2:]`,
        where: "x.grant_tokens <> '{}'",
        named: /^I4 allocations = transaction$/,
      })),
      { to: "'{}'", where: "x.grant_tokens <> '{}'", named: /^I4 allocations = transaction$/ },
    ]),
    reason: field(
      ["''", "repeat('x', 500 + $2)"].map((to) => ({ to, named: /^I10 a change has a reason$/ })),
      "one reason for another: words",
    ),
    actor_role: field(
      [
        { to: "'nobody'", named: /^I10 a change has an actor$/ },
        { to: "'user'", where: "x.actor_role <> 'user'", named: /^I10 a change has an actor$/ },
        { to: "'admin'", where: "x.actor_id is null", named: /^I10 a change has an actor$/ },
        { to: "'service'", where: "x.actor_id is not null", named: /^I10 a change has an actor$/ },
      ],
      "service and system for one another, and admin for a user on his own books: both could have done it",
    ),
    actor_id: field(
      [
        { to: another, where: "x.actor_role <> 'admin'", named: /^I10 a change has an actor$/ },
        { to: "null", where: "x.actor_id is not null", named: /^I10 a change has an actor$/ },
      ],
      "one admin for another: who was one is not kept",
    ),
    idempotency_key: field(
      [
        {
          to: `(select t.idempotency_key from public.token_transactions t
            where t.user_id = x.user_id and t.id <> x.id and t.idempotency_key is not null
              and (t.actor_role = 'user') = (x.actor_role = 'user') limit 1)`,
          where: `x.idempotency_key is not null and exists (select from public.token_transactions t
            where t.user_id = x.user_id and t.id <> x.id and t.idempotency_key is not null
              and (t.actor_role = 'user') = (x.actor_role = 'user'))`,
          named: /^I5 one key, one effect$/,
        },
        { to: "null", where: "x.idempotency_key is not null", named: /^I5 a key keeps its request$/ },
        { to: "'key-' || $2", where: "x.idempotency_key is null", named: /^I5 a key keeps its request$/ },
      ],
      "a key that nobody has used: only the caller knows which one he sent",
    ),
    request: field(
      [
        { to: "null", where: "x.request is not null", named: /^I5 a key keeps its request$/ },
        { to: "'{}'", where: "x.request is null", named: /^I5 a key keeps its request$/ },
      ],
      "another request under its key: only the caller knows what he asked",
    ),
    usage_id: field([
      { to: another, named: /^I4 a transaction for a usage has it$/ },
      {
        to: "null",
        where: "x.usage_id is not null and x.entry_type <> 'refund'",
        named: /^I4 usage = its transaction$/,
      },
      { to: "null", where: "x.usage_id is not null and x.entry_type = 'refund'", named: ofCharge },
    ]),
    hold_id: field([
      { to: another, named: ofHold },
      { to: "null", where: "x.hold_id is not null", named: /^I4 .*hold|^I4 a refund is of its charge$/ },
    ]),
    payment_id: field(
      [{ to: another, named: /^I9 a payment is the user's$/ }],
      "none: a period may be granted before its payment is known",
    ),
    original_id: field(
      [
        ...["x.id", "x.id + $2", "0"].map((to) => ({ to, named: /^I4 an entry undoes what came before$/ })),
        { to: "null", where: "x.entry_type = 'refund'", named: ofCharge },
      ],
      "another transaction that came before, or none, where it is no refund",
    ),
    metadata: field(
      [
        {
          to: "jsonb_set(x.metadata, '{tokens_used}', to_jsonb((x.metadata ->> 'tokens_used')::numeric + $2))",
          where: "x.entry_type = 'opening_balance'",
          named: /^I3 tokens used$/,
        },
        {
          to: "x.metadata - 'total_cost'",
          where: "x.entry_type = 'opening_balance'",
          named: /^I3 total cost$/,
        },
      ],
      attached,
    ),
    created_at: field(
      [
        {
          to: "x.created_at - $2 * interval '1 day'",
          where: "x.id > 1",
          named: /^I7 transactions are booked in the order of time$/,
        },
        {
          to: "x.created_at + $2 * interval '1 day'",
          named: /^I7 transactions are booked in the order of time$/,
        },
      ],
      "within a minute, and the first of a user's moved back: clocks are set, and a standby's may be behind",
    ),
    member_id: field([{ to: another, named: /^I4 who spent is of the team$/ }]),
  },

  token_usage: {
    user_id: field([{ to: another, where: "x.transaction_id is not null", named: /^I4 .*usage/ }]),
    id: field([{ to: another, where: "x.transaction_id is not null", named: /^I4 .*usage/ }]),
    action_type: field([
      {
        to: "'something_else'",
        where: "x.transaction_id is not null",
        named: /^I4 usage and transaction say the same$/,
      },
    ]),
    tokens_used: field(
      off("tokens_used", /^I4 usage = its transaction$/, "x.success and x.transaction_id is not null"),
      "of an operation that failed: it was not charged",
    ),
    cost_estimate: field(
      [
        ...off("cost_estimate", /^I3 total cost$/, "x.success and x.cost_estimate is not null"),
        { to: "$2", where: "x.success and x.cost_estimate is null", named: /^I3 total cost$/ },
      ],
      "of an operation that failed: it is not counted",
    ),
    success: field([
      { to: "not x.success", where: "x.tokens_used > 0", named: /^I4 usage = its transaction$/ },
    ]),
    created_at: field(
      hoursOff("created_at", /^I4 usage and transaction say the same$/, "x.transaction_id is not null"),
    ),
    tokens_uncovered: field(
      off("tokens_uncovered", /^I4 usage = its transaction$/, "x.success and x.transaction_id is not null"),
      "of an operation that failed: it was not charged",
    ),
    transaction_id: field([
      { to: "x.transaction_id + 1000 + $2", named: /^I4 .*usage/, where: "x.transaction_id is not null" },
      { to: "null", named: /^I4 a transaction for a usage has it$/, where: "x.transaction_id is not null" },
    ]),
    model_used: unseen(measured),
    input_tokens: unseen(measured),
    output_tokens: unseen(measured),
    cached_tokens: unseen(measured),
    reasoning_tokens: unseen(measured),
    images: unseen(measured),
    seconds: unseen(measured),
    error_message: unseen("words"),
    metadata: unseen(attached),
    member_id: field([
      {
        to: another,
        where: "x.transaction_id is not null",
        named: /^I4 usage and transaction say the same$/,
      },
    ]),
  },

  token_holds: {
    user_id: field([{ to: another, named: /^I3 reserved = open holds$|^I4 .*hold/ }]),
    id: field([{ to: another, named: hold }]),
    status: field(
      ["open", "captured", "released", "expired"].map((status) => ({
        to: `'${status}'`,
        where: `(x.status = 'open') <> ('${status}' = 'open')`,
        named: history,
      })),
      "captured, released and expired for one another, of a hold of which nothing was paid",
    ),
    tokens: field(off("tokens", hold)),
    grant_ids: field([
      { to: "array_append(x.grant_ids[2:], gen_random_uuid())", named: hold },
      { to: "'{}'", named: hold },
    ]),
    grant_tokens: field([
      { to: "array[x.grant_tokens[1] + $2] || x.grant_tokens[2:]", named: history },
      { to: "'{}'", named: hold },
    ]),
    expires_at: field(
      [
        {
          to: "x.expires_at - $2 * interval '1 second'",
          where: `x.status = 'open' and x.expires_at = (select a.next_due_at from public.token_accounts a where a.user_id = x.user_id)`,
          named: /^I7 the account is due no later than its holds$/,
        },
      ],
      "later, or of a hold that is settled: no second record has it",
    ),
    action_type: field([{ to: "'something_else'", named: hold }]),
    actor_role: field([{ to: "'nobody'", named: hold }]),
    transaction_id: field([
      { to: "x.transaction_id + 1000", named: hold },
      { to: "null", named: hold },
    ]),
    tokens_captured: field([
      ...off("tokens_captured", history, "x.tokens_captured is not null"),
      { to: "$2", where: "x.status = 'open'", named: history },
    ]),
    tokens_uncovered: unseen("what was used and not paid; the usage that was recorded with it has it too"),
    capture_id: field([{ to: "x.capture_id + 1000", where: "x.capture_id is not null", named: hold }]),
    overage_id: field(
      [{ to: "x.overage_id + 1000", where: "x.overage_id is not null", named: hold }],
      "none: the entry names its hold",
    ),
    usage_id: field([
      { to: another, named: hold },
      { to: "null", where: "x.usage_id is not null", named: hold },
    ]),
    metadata: unseen(attached),
    created_at: field(hoursOff("created_at", hold)),
    settled_at: field(
      [{ to: "x.settled_at + $2 * interval '1 hour'", where: "x.capture_id is not null", named: hold }],
      "of a hold of which nothing was paid",
    ),
    member_id: field([{ to: another, named: /^I4 a hold is what its entry says$/ }]),
  },

  token_subscriptions: {},
  token_payments: {},
  "tokenbook.provider_payments": {},
  "tokenbook.provider_events": {},
  token_team_members: {},
  token_storage_quotas: {},
  token_alerts: {},
  token_top_up_requests: {},
  token_legacy_transactions: {},
};
