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

/** In whatever way, in some rows. */
const freeWhere = (where: string, because: string): Free => ({ where, because });
/** In some ways, in whatever row. */
const freeWays = (ways: readonly Way[], because: string): Free => ({ ways, because });

const archived = /^I4 (archived usage = its transactions|a transaction for a usage has it)$/;
const another = "gen_random_uuid()";

const gave = /^I4 a grant is what its transaction gave$/;
const kind = /^I4 an entry is of one kind$/;
const hold = /^I4 a hold is what its entry says$/;
const history = /^I4 a hold is what its history says$/;
const toCome = /^I4 a grant to come waits for its moment$/;
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
const grantActions = `('subscription_grant', 'renewal_grant', 'scheduled_grant', 'trial_grant', 'token_pack_purchase', 'admin_grant', 'bonus_grant')`;

const sameAsTransaction = /^I4 usage and transaction say the same$/;
/** Of a hold that was made under a key: how long it lives stands in the request too. */
const heldUnderKey = `exists (select from public.token_transactions t
  where t.user_id = x.user_id and t.id = x.transaction_id and t.request is not null)`;
/** Of a usage that was recorded under a key: what was measured stands in the request too. */
const keyed = `exists (select from public.token_transactions t
  where t.user_id = x.user_id and t.id = x.transaction_id and t.request ->> 'operation' = 'track')`;
const uncharged = "not x.success or x.transaction_id is null";
const terms = /^I4 a grant keeps the terms it was given on$/;
/** Of a grant that was still to come. */
const calledOff =
  "exists (select from public.token_transactions o where o.user_id = x.user_id and o.id = x.original_id and o.terms ? 'upcoming')";
const voids = /^I4 a grant is voided by its entry$/;
const period = /^I9 a subscription is what its newest entry says$/;
const storage = /^I9 storage is what its plan gave$/;
const slot = /^I9 a slot is what its schedule gives, once$/;
const money = /^I12 tokens follow the money$/;
const ofPayment = /^I12 a payment is what its entry says$/;
const facts = /^I12 what is known of a payment is what was told$/;
const asTold = /^I12 a fact is as it was told$/;
const asked = /^I5 a request is what was done$/;
const topUp = /^I3 a top-up asks for what its alert says$/;
const lastSpent = /^I3 when something was last spent$/;
const waits = "x.status in ('pending', 'rejected')";
const gaveNothing =
  "of a payment that waits or was refused: no token was given for it, and no entry has it; an admin who approves it sees what it says";
/** Booked, and undone when it turned out to be a part of another: what it costs the other says. */
const undone = `exists (select from tokenbook.provider_payments f
  where f.provider = x.provider and f.provider_payment_id = x.provider_payment_id and f.part_of is not null)`;
const setting = "a choice of the payer: nothing in the books says what it should be";
const toldOnce = "what a receiver was told, once: no token depends on it";
const beforeTheBooks = "from before the books: never counted, and no second record has it";
/** Of a subscription whose newest period an entry began. */
const began = `exists (select from public.token_transactions t where t.user_id = x.user_id and t.terms ? 'subscription')`;
/** Of a part of a payment of which no event tells. */
const anUntoldPart = `x.part_of is not null and not exists (select from tokenbook.provider_events e
  where e.provider = x.provider and e.provider_payment_id = x.provider_payment_id)`;
const untold = "of a part of a payment of which no event tells: the payment says that it is one";
const parked = "of a payment whose user or plan is not known: for an admin to say";
const ofPlan = "x.metadata ? 'plan'";
const ofProject = "x.user_id = '00000000-0000-0000-0000-000000000000'";
const besidePlan = "given beside a plan, or before the books: no entry has it";
const charged = "what the server that charges said of it: only its provider knows";
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
      freeWays(
        ["less", "much less", "another row's"],
        "earlier than need be: allowed, the next look at the grants puts it right",
      ),
      freeWhere(
        `not exists (select from public.token_balances b where b.user_id = x.user_id and b.is_open and b.expires_at is not null)
         and not exists (select from public.token_holds h where h.user_id = x.user_id and h.status = 'open')`,
        "of an account of which nothing runs out",
      ),
    ),
    alert_below: unseen("of alerts, on which no token depends; tests/alerts asks for it"),
    alert_above: unseen("of alerts, on which no token depends; tests/alerts asks for it"),
    next_alert_at: field(
      [
        {
          to: "x.next_due_at - $2 * interval '1 second'",
          where: "x.next_due_at is not null",
          named: /^I7 the account is due no later than its next alert$/,
        },
      ],
      "later, or none: of alerts, on which no token depends; tests/alerts asks for it",
    ),
    warns_of_expiry: unseen("of alerts, on which no token depends; tests/alerts asks for it"),
    alerts_version: field(
      [{ to: "null", named: /^I7 the account says whether its books are here$/ }],
      "of alerts, on which no token depends; tests/alerts asks for it",
    ),
    last_alert_id: field(off("last_alert_id", /^I3 the account knows its last alert$/)),
    spent_at: field([
      ...hoursOff("spent_at", lastSpent, "x.spent_at is not null"),
      { to: "null", where: "x.spent_at is not null", named: lastSpent },
    ]),
    spent_day: field(off("spent_day", /^I3 spent in this day, week and month$/)),
    spent_week: field(off("spent_week", /^I3 spent in this day, week and month$/)),
    spent_month: field(off("spent_month", /^I3 spent in this day, week and month$/)),
    payer_id: field([{ to: another, named: /^I3 a member has one payer$/ }]),
    was_member: field([{ to: "not x.was_member", named: /^I3 who was ever in a team$/ }]),
    restricted_until: field(
      [
        {
          to: "null",
          where: `exists (select from public.token_balances b
            where b.user_id = x.user_id and b.is_open and b.pays_for is not null)`,
          named: /^I8 the account knows until when its grants are restricted$/,
        },
      ],
      freeWays(
        ["more", "much more", "another row's"],
        "later: then a spending looks at grants that it need not look at",
      ),
      freeWhere(
        `not exists (select from public.token_balances b
          where b.user_id = x.user_id and b.is_open and b.pays_for is not null)`,
        "no grant is restricted any more",
      ),
    ),
    has_caps: field([{ to: "not x.has_caps", named: /^I3 the account knows whether it has caps$/ }]),
    state: field(
      [{ to: "'moved'", named: /^I7 the account says whether its books are here$/ }],
      "whether it may be spent from now on: no entry depends on it; tokenbook.changes says who set it",
    ),
    overdraft_limit: field([
      { to: "coalesce(x.overdraft_limit, 0) + $2", named: /^I3 an overdraft is what was said of it$/ },
      {
        to: "null",
        where: "x.overdraft_limit is not null",
        named: /^I3 an overdraft is what was said of it$/,
      },
    ]),
    updated_at: unseen("when the row last changed, for people; nothing is computed from it"),
  },

  token_balances: {
    user_id: field([{ to: another, named: /^I2 account = its grants$|^I4 an allocation names a grant$/ }]),
    id: field([{ to: another, where: inLedger("true"), named: /^I4 an allocation names a grant$/ }]),
    grant_type: field([
      { to: "'trial'", where: `x.grant_type <> 'trial' and ${hasGiver}`, named: gave },
      {
        to: "'plan'",
        where: `x.grant_type in ('trial', 'purchase', 'admin') and ${hasGiver}`,
        named: gave,
      },
      { to: "'28day'", where: "x.grant_type <> '28day'", named: terms },
    ]),
    tokens_granted: field([...off("tokens_granted", gave, hasGiver), ...off("tokens_granted", terms)]),
    tokens_remaining: field([
      ...off("tokens_remaining", /^I4 a grant is what its history left$/),
      { to: "-$2", named: /^I1 no overspend$/ },
      { to: "x.tokens_granted + $2", named: /^I1 no overspend$/ },
    ]),
    priority: field(off("priority", terms)),
    pays_for: field([
      { to: `'{"actions": ["image_generation"]}'`, where: "x.pays_for is null", named: terms },
      { to: "null", where: "x.pays_for is not null", named: terms },
      {
        to: `'{"actions": ["something_else"]}'`,
        where: inLedger(
          "t.entry_type = 'deduction' and t.reserved_change = 0 and t.action_type <> 'admin_deduct'",
        ),
        named: /^I8 a grant pays only for what it may$/,
      },
    ]),
    cost_basis_cents: field([
      { to: "x.cost_basis_cents + $2", where: "x.cost_basis_cents is not null", named: terms },
      { to: "null", where: "x.cost_basis_cents is not null", named: terms },
    ]),
    currency: field([{ to: "'xyz'", where: "x.currency is not null", named: terms }]),
    cost_basis_of: field([
      { to: "x.id", where: "x.cost_basis_of is null", named: terms },
      { to: "null", where: "x.cost_basis_of is not null and x.rolled_over_from is null", named: terms },
    ]),
    granted_at: field([
      { to: "x.granted_at + $2 * interval '1 day'", where: hasGiver, named: gave },
      ...hoursOff("granted_at", terms),
    ]),
    expires_at: field([
      ...hoursOff("expires_at", terms, "x.expires_at is not null"),
      { to: "null", where: "x.expires_at is not null", named: terms },
      { to: "x.granted_at + $2 * interval '1 year'", where: "x.expires_at is null", named: terms },
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
    ]),
    is_open: field([{ to: "not x.is_open", named: /^I1 an open grant has tokens$/ }]),
    payment_id: field([
      {
        to: "null",
        where: `x.payment_id is not null and ${inLedger("t.entry_type = 'grant' and t.payment_id is not null")}`,
        named: gave,
      },
      { to: "null", where: "x.payment_id is not null", named: money },
      { to: another, named: /^I9 a payment is the user's$/ },
    ]),
    subscription_id: field([
      { to: another, where: hasGiver, named: /^I9 a grant's subscription is the user's$/ },
      {
        to: "null",
        where: "x.period_start is not null",
        named: /^I9 a grant's subscription is the user's$/,
      },
      { to: another, named: terms },
    ]),
    period_start: field([
      ...hoursOff("period_start", terms, "x.period_start is not null"),
      { to: "x.granted_at", where: "x.period_start is distinct from x.granted_at", named: terms },
    ]),
    legacy_transaction_id: field([{ to: "'another'", named: terms }]),
    rolled_over_from: field([{ to: another, named: terms }]),
    voided_at: field([
      { to: "clock_timestamp()", named: terms },
      { to: "null", where: "x.voided_at is not null", named: terms },
    ]),
    metadata: field(
      [{ to: `x.metadata || '{"x": 1}'`, where: hasGiver, named: terms }],
      freeWhere(
        `not ${hasGiver} and x.rolled_over_from is null`,
        `of a grant from before the books, or that took what came back: ${attached}`,
      ),
    ),
    created_at: field([...hoursOff("created_at", gave, hasGiver), ...hoursOff("created_at", terms)]),
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
      freeWhere(
        `x.entry_type in ('deduction', 'usage') and x.usage_id is null and x.hold_id is null and x.request is null
         and x.action_type not in ('admin_deduct', 'plan_change', 'expiry_change', 'upcoming_grant')`,
        "one AI action for another, of a deduction without usage and key: no second record has it",
      ),
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
      freeWays(["something else", "another row's", "added to"], "one reason for another: words"),
      {
        ways: ["null"],
        where: "x.entry_type in ('grant', 'refund', 'void', 'clawback') or x.action_type = 'admin_deduct'",
        because: "none where none need be given: words",
      },
    ),
    actor_role: field(
      [
        { to: "'nobody'", named: /^I10 a change has an actor$/ },
        { to: "'user'", where: "x.actor_role <> 'user'", named: /^I10 a change has an actor$/ },
        { to: "'admin'", where: "x.actor_id is null", named: /^I10 a change has an actor$/ },
        { to: "'service'", where: "x.actor_id is not null", named: /^I10 a change has an actor$/ },
      ],
      freeWhere(
        "x.actor_role <> 'user' or x.actor_id = x.user_id",
        "service and system for one another, and admin for a user on their own books: both could have done it",
      ),
    ),
    actor_id: field(
      [
        { to: another, where: "x.actor_role <> 'admin'", named: /^I10 a change has an actor$/ },
        { to: "null", where: "x.actor_id is not null", named: /^I10 a change has an actor$/ },
      ],
      freeWhere("x.actor_role = 'admin'", "one admin for another: who was one is not kept"),
    ),
    idempotency_key: field(
      [
        {
          to: `(select t.idempotency_key from public.token_transactions t
            where t.user_id = x.user_id and t.id <> x.id and t.idempotency_key is not null
              and t.member_id is not distinct from x.member_id and (t.actor_role = 'user') = (x.actor_role = 'user') limit 1)`,
          where: `x.idempotency_key is not null and exists (select from public.token_transactions t
            where t.user_id = x.user_id and t.id <> x.id and t.idempotency_key is not null
              and t.member_id is not distinct from x.member_id and (t.actor_role = 'user') = (x.actor_role = 'user'))`,
          named: /^I5 one key, one effect$/,
        },
        { to: "null", where: "x.idempotency_key is not null", named: /^I5 a key keeps its request$/ },
        { to: "'key-' || $2", where: "x.idempotency_key is null", named: /^I5 a key keeps its request$/ },
      ],
      freeWhere(
        "x.idempotency_key is not null",
        "a key that nobody has used: only the caller knows which one they sent",
      ),
    ),
    request: field(
      [
        { to: "null", where: "x.request is not null", named: /^I5 a key keeps its request$/ },
        { to: "'{}'", where: "x.request is null", named: /^I5 a key keeps its request$/ },
        { to: "'{}'", where: "x.request is not null", named: asked },
        {
          to: "x.request || jsonb_build_object('tokens', 1 + (x.request ->> 'tokens')::bigint)",
          where: "x.request ->> 'operation' in ('deduct', 'reserve', 'grant')",
          named: asked,
        },
        {
          to: "x.request || jsonb_build_object('delta', 1 + (x.request ->> 'delta')::bigint)",
          where: "x.request ->> 'operation' = 'adjust'",
          named: asked,
        },
        {
          to: `x.request || '{"action_type": "something_else"}'`,
          where: "x.request ->> 'operation' in ('deduct', 'reserve', 'track')",
          named: asked,
        },
        {
          to: `x.request || '{"input_tokens": 12345}'`,
          where: "x.request ->> 'operation' = 'track'",
          named: /^I4 usage and transaction say the same$/,
        },
      ],
      freeWays(
        ["added to"],
        "what else was asked under the key: only the caller knows, and a retry that asks otherwise is refused",
      ),
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
      { to: another, named: /^I4 (an entry of a hold is like it|a move is between a hold and its child)$/ },
      { to: "null", where: "x.hold_id is not null", named: /^I4 .*hold|^I4 a refund is of its charge$/ },
    ]),
    payment_id: field([
      { to: another, named: /^I9 a payment is the user's$/ },
      {
        to: "null",
        where: "x.payment_id is not null",
        named: /^I12 a payment is what its entry says$|^I4 an entry is of one kind$/,
      },
    ]),
    original_id: field(
      [
        ...["x.id", "x.id + $2", "0"].map((to) => ({ to, named: /^I4 an entry undoes what came before$/ })),
        { to: "null", where: "x.entry_type = 'refund'", named: ofCharge },
        { to: "null", where: "x.entry_type = 'release'", named: ofHold },
        { to: "null", where: "x.terms ? 'voids'", named: voids },
        { to: "1", where: "x.entry_type = 'deduction'", named: kind },
      ],
      freeWhere(
        "x.entry_type = 'restatement'",
        "none, of a restatement's reversal: it is then one of its own, with the same effect",
      ),
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
          where: "x.entry_type = 'opening_balance' and (x.metadata ->> 'total_cost')::numeric <> 0",
          named: /^I3 total cost$/,
        },
        { to: `'{"x": 1}'`, where: "x.entry_type in ('expiry', 'debt_repayment', 'release')", named: kind },
        { to: `x.metadata || '{"x": 1}'`, where: "x.entry_type = 'grant'", named: terms },
        { to: `x.metadata || '{"x": 1}'`, where: "x.entry_type = 'hold'", named: hold },
        {
          to: `x.metadata || '{"x": 1}'`,
          where: `exists (select from public.token_usage u where u.user_id = x.user_id and u.transaction_id = x.id)`,
          named: /^I4 usage and transaction say the same$/,
        },
        {
          to: "x.metadata - 'expires_at'",
          where: "x.terms ? 'voids' and x.metadata ? 'expires_at'",
          named: voids,
        },
      ],
      freeWhere("x.entry_type not in ('expiry', 'debt_repayment', 'release', 'hold', 'grant')", attached),
    ),
    terms: field(
      [
        { to: "null", where: "x.terms is not null and not x.terms ? 'model'", named: kind },
        {
          to: `jsonb_set(x.terms, '{model}', '"another"')`,
          where: "x.terms ? 'model' and x.usage_id is not null",
          named: sameAsTransaction,
        },
        { to: "'{}'", named: kind },
        { to: `coalesce(x.terms, '{}') || '{"x": 1}'`, named: kind },
        {
          to: "jsonb_set(x.terms, '{grants,0,priority}', '7')",
          where: "jsonb_array_length(x.terms -> 'grants') > 0",
          named: terms,
        },
        {
          to: "jsonb_set(x.terms, '{grants,0,expires_at}', to_jsonb(clock_timestamp()))",
          where: "jsonb_array_length(x.terms -> 'grants') > 0",
          named:
            /^I4 (a grant (keeps the terms it was given on|is voided by its entry)|an expiry is changed from what it was)$/,
        },
        {
          to: `jsonb_set(x.terms, '{subscription,plan_type}', '"annual"')`,
          where: `x.terms ? 'subscription' and x.id = (select max(t.id) from public.token_transactions t
          where t.user_id = x.user_id and t.terms ?| array['subscription', 'standing'])
          and x.terms -> 'subscription' ->> 'plan_type' <> 'annual'
          and x.terms -> 'subscription' ->> 'plan_type' = (select s.plan_type from tokenbook.subscriptions s where s.user_id = x.user_id)`,
          named: period,
        },
        { to: "jsonb_set(x.terms, '{slots,count}', '7')", where: "x.terms ? 'slots'", named: slot },
        { to: "jsonb_set(x.terms, '{slots,schedule,tokens}', '7')", where: "x.terms ? 'slots'", named: slot },
        {
          to: "jsonb_set(x.terms, '{slots,first}', to_jsonb((x.terms -> 'slots' ->> 'first')::timestamptz - $2 * interval '1 hour'))",
          where: "x.terms ? 'slots'",
          named: slot,
        },
        {
          to: "jsonb_set(x.terms, '{upcoming,id}', to_jsonb(gen_random_uuid()))",
          where: "x.terms ? 'upcoming'",
          named: /^I4 (a grant to come waits for its moment|what came of a grant to come is what was said)$/,
        },
        {
          to: "jsonb_set(x.terms, '{upcoming,granted_at}', to_jsonb((x.terms -> 'upcoming' ->> 'granted_at')::timestamptz + $2 * interval '1 hour'))",
          where:
            "x.terms ? 'upcoming' and not exists (select from public.token_transactions t where t.user_id = x.user_id and t.original_id = x.id and t.entry_type = 'void')",
          named: /^I4 (a grant to come waits for its moment|what came of a grant to come is what was said)$/,
        },
        {
          to: "jsonb_set(x.terms, '{upcoming,tokens_granted}', '7')",
          where:
            "x.terms ? 'upcoming' and exists (select from public.token_transactions t where t.user_id = x.user_id and t.original_id = x.id and t.entry_type = 'grant')",
          named: /^I4 what came of a grant to come is what was said$/,
        },
        { to: "x.terms - 'slots'", where: "x.terms ? 'slots'", named: kind },
        { to: "jsonb_set(x.terms, '{storage,quota_gb}', '7')", where: "x.terms ? 'storage'", named: storage },
        {
          to: "jsonb_set(x.terms, '{payment,amount_cents}', '7')",
          // of parts the provider has told the whole, and where it told no amount the catalogue's price was booked
          where: `x.terms ? 'payment' and not exists (
            select from public.token_payments p
              join tokenbook.provider_payments f on f.provider = p.provider and f.provider_payment_id = p.provider_payment_id
             where p.user_id = x.user_id and p.id::text = x.terms -> 'payment' ->> 'id'
               and (f.part_of is not null
                 or exists (select from tokenbook.provider_payments o where o.provider = f.provider and o.part_of = f.provider_payment_id)
                 or exists (select from tokenbook.provider_events e
                             where e.provider = f.provider and e.provider_payment_id = f.provider_payment_id
                               and e.facts ->> 'kind' = 'paid' and e.facts ->> 'amount_cents' is null)))`,
          named: ofPayment,
        },
        ...[
          { where: `x.terms ? 'voids' and not ${calledOff}`, named: voids },
          {
            where: `x.terms ? 'voids' and ${calledOff}`,
            named: /^I4 what came of a grant to come is what was said$/,
          },
        ].map((it) => ({ to: "jsonb_set(x.terms, '{voids}', to_jsonb(gen_random_uuid()))", ...it })),
      ],
      freeWhere(
        "x.terms ? 'model'",
        "of a use that a grant for anything paid: which model it was decides nothing",
      ),
    ),
    created_at: field(
      [
        {
          to: "x.created_at - $2 * interval '1 day'",
          where: `x.created_at < interval '12 hours' + (select t.created_at from public.token_transactions t
            where t.user_id = x.user_id and t.id = x.id - 1)`,
          named: /^I7 transactions are booked in the order of time$/,
        },
        {
          to: "x.created_at + $2 * interval '1 day'",
          named: /^I7 transactions are booked in the order of time$/,
        },
      ],
      freeWays(
        ["more", "less", "another row's"],
        "between the entries around it, or within a minute of them: clocks are set, and a standby's may be behind",
      ),
      freeWhere("x.id = 1", "the first of a user's, moved back: nothing came before"),
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
        named: sameAsTransaction,
      },
    ]),
    tokens_used: field(
      off("tokens_used", /^I4 usage = its transaction$/, "x.success and x.transaction_id is not null"),
      freeWhere(uncharged, "of an operation that failed, or from before the books: it was not charged"),
    ),
    cost_estimate: field(
      [
        ...off("cost_estimate", /^I3 total cost$/, "x.success and x.cost_estimate is not null"),
        { to: "$2", where: "x.success and x.cost_estimate is null", named: /^I3 total cost$/ },
      ],
      freeWhere(
        `${uncharged} or x.cost_estimate = 0`,
        "of an operation that failed, or from before the books: it is not counted; none for 0",
      ),
      freeWhere("x.cost_estimate is null", "0 for none: it counts the same"),
    ),
    success: field([
      { to: "not x.success", where: "x.tokens_used > 0", named: /^I4 usage = its transaction$/ },
    ]),
    created_at: field(
      hoursOff("created_at", /^I4 usage and transaction say the same$/, "x.transaction_id is not null"),
    ),
    tokens_uncovered: field(
      off("tokens_uncovered", /^I4 usage = its transaction$/, "x.success and x.transaction_id is not null"),
      freeWhere(uncharged, "of an operation that failed, or from before the books: it was not charged"),
    ),
    transaction_id: field([
      { to: "x.transaction_id + 1000 + $2", named: /^I4 .*usage/, where: "x.transaction_id is not null" },
      { to: "null", named: /^I4 a transaction for a usage has it$/, where: "x.transaction_id is not null" },
    ]),
    model_used: field(
      [{ to: "'another'", where: keyed, named: sameAsTransaction }],
      freeWhere(`not ${keyed}`, measured),
    ),
    input_tokens: field(
      [{ to: "coalesce(x.input_tokens, 0) + $2", where: keyed, named: sameAsTransaction }],
      freeWhere(`not ${keyed}`, measured),
    ),
    output_tokens: field(
      [{ to: "coalesce(x.output_tokens, 0) + $2", where: keyed, named: sameAsTransaction }],
      freeWhere(`not ${keyed}`, measured),
    ),
    cached_tokens: field(
      [{ to: "coalesce(x.cached_tokens, 0) + $2", where: keyed, named: sameAsTransaction }],
      freeWhere(`not ${keyed}`, measured),
    ),
    reasoning_tokens: field(
      [{ to: "coalesce(x.reasoning_tokens, 0) + $2", where: keyed, named: sameAsTransaction }],
      freeWhere(`not ${keyed}`, measured),
    ),
    images: field(
      [{ to: "coalesce(x.images, 0) + $2", where: keyed, named: sameAsTransaction }],
      freeWhere(`not ${keyed}`, measured),
    ),
    seconds: field(
      [{ to: "coalesce(x.seconds, 0) + $2", where: keyed, named: sameAsTransaction }],
      freeWhere(`not ${keyed}`, measured),
    ),
    error_message: field(
      [{ to: "'another'", where: keyed, named: sameAsTransaction }],
      freeWhere(`not ${keyed}`, "words"),
    ),
    metadata: field(
      [{ to: `x.metadata || '{"x": 1}'`, where: "x.transaction_id is not null", named: sameAsTransaction }],
      freeWhere("x.transaction_id is null", attached),
    ),
    member_id: field([
      {
        to: another,
        where: "x.transaction_id is not null",
        named: sameAsTransaction,
      },
    ]),
  },

  token_holds: {
    user_id: field([{ to: another, named: /^I3 reserved = open holds$|^I4 .*hold/ }]),
    id: field([{ to: another, named: hold }]),
    status: field(
      ["open", "captured", "released", "expired"]
        .map((status) => ({
          to: `'${status}'`,
          where: `(x.status = 'open') <> ('${status}' = 'open')`,
          named: history,
        }))
        .concat(
          ["captured", "released", "expired"].map((status) => ({
            to: `'${status}'`,
            where: `x.status not in ('open', '${status}')`,
            named: hold,
          })),
        ),
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
        ...hoursOff("expires_at", hold, heldUnderKey),
      ],
      freeWhere(
        `not ${heldUnderKey}`,
        "of a hold without a key, within the day that a hold may live: no second record has it",
      ),
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
    tokens_uncovered: field(
      [{ to: "x.tokens_uncovered + $2", where: "x.usage_id is not null", named: hold }],
      freeWhere(
        "x.usage_id is null",
        "what was used and not paid, where no usage was recorded with it: no second record has it",
      ),
    ),
    capture_id: field(
      ["x.capture_id + 1000", "null"].map((to) => ({ to, where: "x.capture_id is not null", named: hold })),
    ),
    overage_id: field(
      ["x.overage_id + 1000", "null"].map((to) => ({ to, where: "x.overage_id is not null", named: hold })),
    ),
    usage_id: field([
      { to: another, named: hold },
      { to: "null", where: "x.usage_id is not null", named: hold },
    ]),
    metadata: field([{ to: `x.metadata || '{"x": 1}'`, named: hold }]),
    created_at: field(hoursOff("created_at", hold)),
    settled_at: field(hoursOff("settled_at", hold, "x.settled_at is not null")),
    member_id: field([{ to: another, named: /^I4 a hold is what its entry says$/ }]),
    parent_id: field([
      { to: another, named: hold },
      { to: "null", where: "x.parent_id is not null", named: hold },
    ]),
    tokens_passed: field(off("tokens_passed", hold)),
    children_captured: field(off("children_captured", hold)),
  },

  "tokenbook.subscriptions": {
    user_id: field([{ to: another, where: began, named: period }]),
    id: field([{ to: another, where: began, named: period }]),
    plan_type: field([
      { to: "case when x.plan_type = 'annual' then 'grow' else 'annual' end", where: began, named: period },
    ]),
    tokens_limit: field(
      [
        {
          to: "(select a.tokens_remaining - $2 from public.token_accounts a where a.user_id = x.user_id)",
          where:
            "exists (select from public.token_accounts a where a.user_id = x.user_id and a.tokens_remaining > 20)",
          named: /^I9 the balance is never above the plan limit$/,
        },
        ...off("tokens_limit", /^I9 the plan limit is what the ledger made it$/, began),
      ],
      freeWhere(
        `not ${began}`,
        "of a subscription from before the books, above the balance: no entry began it",
      ),
    ),
    articles_limit: field([{ to: "coalesce(x.articles_limit, 0) + $2", where: began, named: period }]),
    features: field([{ to: `x.features || '{"x": 1}'`, where: began, named: period }]),
    billing_cycle: field([
      { to: "case when x.billing_cycle = 'none' then '28day' else 'none' end", where: began, named: period },
    ]),
    auto_renew: field([{ to: "not x.auto_renew", where: began, named: period }]),
    payment_method: field([{ to: "'another'", where: began, named: period }]),
    payment_id: field([{ to: "'another'", where: began, named: period }]),
    period_start: field(hoursOff("period_start", period, began)),
    expires_at: field([
      ...hoursOff("expires_at", period, `${began} and x.expires_at is not null`),
      {
        to: "x.period_start + $2 * interval '1 year'",
        where: `${began} and x.expires_at is null`,
        named: period,
      },
    ]),
    grace_days: field([{ to: "x.grace_days + $2", where: began, named: period }]),
    next_plan_type: field([
      { to: "'annual'", where: began, named: period },
      { to: "null", where: "x.next_plan_type is not null", named: period },
    ]),
    schedule: field([
      {
        to: `'{"every": "day", "on": "calendar", "tokens": 7, "grant_type": "plan"}'`,
        where: began,
        named: period,
      },
      {
        to: `jsonb_set(x.schedule, '{tokens}', '7')`,
        where: `${began} and x.schedule is not null`,
        named: period,
      },
    ]),
    next_slot_at: field(
      [
        ...hoursOff("next_slot_at", period, `${began} and x.next_slot_at is not null`),
        { to: "null", where: `${began} and x.next_slot_at is not null`, named: period },
        {
          to: "x.next_slot_at + $2 * interval '10 years'",
          where: `${began} and x.next_slot_at is not null`,
          named: period,
        },
      ],
      freeWays(
        ["another row's"],
        "another slot's start, of those that nothing was given for: what was skipped gave nothing, and no entry has it",
      ),
    ),
    cancel_at: field([{ to: "x.period_start + $2 * interval '1 hour'", where: began, named: period }]),
    paused_at: field([{ to: "x.period_start + $2 * interval '1 hour'", where: began, named: period }]),
    taken_back_at: field([
      { to: "x.period_start + $2 * interval '1 hour'", where: began, named: period },
      { to: "null", where: `${began} and x.taken_back_at is not null`, named: period },
    ]),
    ended_at: field([
      { to: "x.period_start + $2 * interval '1 hour'", where: began, named: period },
      { to: "null", where: `${began} and x.ended_at is not null`, named: period },
    ]),
    beside: field([
      { to: `x.beside || '[{"plan_type": "annual"}]'`, where: began, named: period },
      { to: "'[]'", where: `${began} and x.beside <> '[]'`, named: period },
    ]),
    created_at: field(hoursOff("created_at", period, began)),
    updated_at: unseen("when the row last changed, for people; nothing is computed from it"),
  },

  token_payments: {
    user_id: field([{ to: another, where: `not ${waits}`, named: money }], freeWhere(waits, gaveNothing)),
    id: field([{ to: another, where: `not ${waits}`, named: money }], freeWhere(waits, gaveNothing)),
    status: field([
      { to: "'approved'", where: "x.status <> 'approved'", named: money },
      { to: "'refunded'", where: "x.status <> 'refunded'", named: money },
      { to: "'pending'", where: "x.status <> 'pending'", named: money },
      { to: "'rejected'", where: `not ${waits}`, named: money },
    ]),
    provider: field([
      { to: "'paypal'", where: "x.provider <> 'paypal'", named: money },
      { to: "'manual'", where: "x.provider <> 'manual'", named: ofPayment },
    ]),
    provider_payment_id: field(
      [{ to: "'another'", where: `not ${waits}`, named: ofPayment }],
      freeWhere(waits, gaveNothing),
    ),
    from_plan: field(
      [{ to: "'annual'", where: `not ${waits}`, named: ofPayment }],
      freeWhere(waits, gaveNothing),
    ),
    to_plan: field(
      [
        {
          to: "case when x.to_plan = 'annual' then 'grow' else 'annual' end",
          where: `not ${waits}`,
          named: ofPayment,
        },
      ],
      freeWhere(waits, gaveNothing),
    ),
    pack_type: field(
      [
        {
          to: "case when x.pack_type is null then 'one' end",
          where: `not ${waits}`,
          named: ofPayment,
        },
      ],
      freeWhere(waits, gaveNothing),
    ),
    quantity: field(
      [
        { to: "x.quantity + $2", where: `not ${waits}`, named: ofPayment },
        { to: "x.quantity + $2", where: `not ${waits} and x.pack_type is not null`, named: money },
      ],
      freeWhere(waits, gaveNothing),
    ),
    terms: field(
      [
        { to: `x.terms || '{"name": "another"}'`, where: `not ${waits}`, named: ofPayment },
        {
          to: `x.terms || jsonb_build_object('tokens', (x.terms ->> 'tokens')::bigint + $2)`,
          where: `not ${waits} and x.pack_type is not null`,
          named: money,
        },
      ],
      freeWhere(waits, gaveNothing),
    ),
    amount_cents: field(
      [
        ...off("amount_cents", ofPayment, `not ${waits} and not ${undone}`),
        ...off("amount_cents", money, undone),
      ],
      freeWhere(waits, gaveNothing),
    ),
    currency: field(
      [{ to: "'eur'", where: `not ${waits} and not ${undone}`, named: ofPayment }],
      freeWhere(waits, gaveNothing),
      freeWhere(undone, "of a part that was booked and undone: the payment that it is a part of says it"),
    ),
    tokens: field([
      ...off("tokens", money, "x.tokens is not null"),
      { to: "null", where: "x.tokens is not null", named: money },
      { to: "$2", where: "x.tokens is null", named: money },
    ]),
    refunded_cents: field([...off("refunded_cents", money), { to: "x.refunded_cents + 50", named: money }]),
    disputed_cents: field(off("disputed_cents", money)),
    tokens_clawed_back: field(off("tokens_clawed_back", money)),
    tokens_lapsed: field(off("tokens_lapsed", money)),
    idempotency_key: field(
      [{ to: "'user:another'", where: `not ${waits}`, named: ofPayment }],
      freeWhere(waits, gaveNothing),
    ),
    reason: field(
      [
        { to: "'another'", where: `not ${waits}`, named: ofPayment },
        { to: "'another'", where: "x.status = 'pending'", named: money },
        { to: "null", where: "x.status = 'rejected'", named: money },
        { to: "null", where: `x.reason is not null and not ${waits}`, named: ofPayment },
      ],
      freeWhere("x.status = 'rejected'", gaveNothing),
    ),
    created_at: field(hoursOff("created_at", ofPayment, `not ${waits}`), freeWhere(waits, gaveNothing)),
    decided_at: field(
      [
        ...hoursOff("decided_at", ofPayment, `not ${waits}`),
        { to: "clock_timestamp()", where: "x.status = 'pending'", named: money },
        { to: "null", where: "x.status <> 'pending'", named: money },
      ],
      freeWhere("x.status = 'rejected'", gaveNothing),
    ),
    decided_by: field(
      [{ to: another, where: `not ${waits}`, named: ofPayment }],
      freeWhere(waits, gaveNothing),
    ),
  },

  "tokenbook.provider_payments": {
    provider: field(
      [{ to: "'paypal'", where: `not (${anUntoldPart})`, named: /^I12 an event is of a payment$/ }],
      freeWhere(anUntoldPart, untold),
    ),
    provider_payment_id: field([
      { to: "'another'", where: `not (${anUntoldPart})`, named: /^I12 an event is of a payment$/ },
    ]),
    part_of: field([
      { to: "'another'", named: facts },
      { to: "null", where: "x.part_of is not null", named: /^I12 / },
    ]),
    user_id: field(
      [
        {
          to: another,
          where: "x.is_paid and x.user_id is not null and num_nonnulls(x.plan_type, x.pack_type) > 0",
          named: /^I12 what was paid is booked$/,
        },
        { to: another, where: "x.parked_reason is not null or not x.is_paid", named: facts },
      ],
      {
        ways: ["null"],
        where: "x.parked_reason is not null or not x.is_paid",
        because: "nobody's, of what is not booked: its next event, or an admin, says anew whose it is",
      },
      freeWhere(anUntoldPart, untold),
    ),
    customer_id: field([{ to: "'another'", named: facts }]),
    plan_type: field(
      [{ to: "'annual'", where: "x.plan_type is not null", named: facts }],
      freeWhere("x.plan_type is null", parked),
    ),
    pack_type: field([{ to: "'another'", where: "x.pack_type is distinct from 'another'", named: facts }]),
    quantity: field([{ to: "7", named: /^I12 / }]),
    price_id: field([{ to: "'another'", named: facts }]),
    subscription_id: field([{ to: "'another'", named: facts }]),
    cycles_completed: field([{ to: "7", named: facts }]),
    is_paid: field([{ to: "not x.is_paid", named: facts }]),
    amount_cents: field(
      off("amount_cents", facts, "x.amount_cents is not null"),
      freeWhere("not x.is_paid", "of what nobody has paid yet: no token depends on it"),
    ),
    currency: field([{ to: "'gbp'", named: facts }]),
    from_balance_cents: field([{ to: "7", named: facts }]),
    refunded_cents: field(off("refunded_cents", facts)),
    disputed_cents: field(off("disputed_cents", facts)),
    period_start: field([
      { to: "coalesce(x.period_start, clock_timestamp()) + interval '1 hour'", named: facts },
    ]),
    parked_reason: field([
      { to: "'proration'", named: facts },
      { to: "null", where: "x.parked_reason is not null", named: facts },
    ]),
    parked_details: unseen("what its reason is in this case, for people: it books nothing"),
    disagrees: field([{ to: `'{"user_id": ["another"]}'`, named: facts }]),
    alert_id: unseen("which alert told the project of it: without it, nobody is told that it is over"),
    told_as: unseen("what the project was told of it: another one only makes it told again"),
    dismissed_at: unseen(
      "that somebody took it off the list of what is parked: the list alone depends on it",
    ),
    created_at: field(
      [{ to: "x.created_at + $2 * interval '1 hour'", where: `not (${anUntoldPart})`, named: facts }],
      freeWays(
        ["less", "much less", "another row's", "more"],
        "earlier, or within a minute: when it was first heard of, for people",
      ),
      freeWhere(anUntoldPart, "when its id was first heard of, for people"),
    ),
    updated_at: field(
      [{ to: "x.updated_at - $2 * interval '1 hour'", where: `not (${anUntoldPart})`, named: facts }],
      freeWays(
        ["more", "much more", "another row's", "less"],
        "later, or within a minute: when it was last heard of, for people",
      ),
      freeWhere(anUntoldPart, "when what is known of it last changed, for people"),
    ),
  },

  "tokenbook.provider_events": {
    provider: field([{ to: "'paypal'", where: "x.provider = 'stripe'", named: asTold }]),
    provider_payment_id: field([
      { to: "'another'", named: asTold },
      {
        // where it may change no sum: a refund that was taken back, a dispute that was won
        to: `(select y.provider_payment_id from tokenbook.provider_events y where y.provider = x.provider
          and y.provider_payment_id <> x.provider_payment_id order by md5(y::text) limit 1)`,
        named: asTold,
      },
    ]),
    event_id: field([{ to: "'another'", named: asTold }]),
    digest: field([{ to: "sha256(x.digest)", named: asTold }]),
    event_type: field([{ to: "'another'", named: asTold }]),
    occurred_at: field(
      hoursOff("occurred_at", asTold, "x.facts ->> 'kind' <> 'assigned'"),
      freeWhere(
        "x.facts ->> 'kind' = 'assigned'",
        "when an admin said it: they are asked only where no event says it",
      ),
    ),
    facts: field([
      { to: `x.facts || '{"x": 1}'`, named: asTold },
      { to: "'{}'", named: asTold },
    ]),
    received_at: field(
      hoursOff("received_at", facts),
      freeWays(
        ["less", "more", "another row's"],
        "within the time in which its payment was first and last heard of, or a minute of it",
      ),
    ),
  },

  token_team_members: {
    user_id: field([{ to: another, where: "x.until is null", named: /^I3 a member has one payer$/ }]),
    member_id: field([{ to: another, where: "x.until is null", named: /^I3 a member has one payer$/ }]),
    cap_day: unseen(setting),
    cap_week: unseen(setting),
    cap_month: unseen(setting),
    tokens_used: field(off("tokens_used", /^I3 what a member used$/)),
    spent_at: field(hoursOff("spent_at", lastSpent, "x.spent_at is not null")),
    spent_day: field(off("spent_day", /^I3 spent in this day, week and month$/, "x.spent_at is not null")),
    spent_week: field(off("spent_week", /^I3 spent in this day, week and month$/, "x.spent_at is not null")),
    spent_month: field(
      off("spent_month", /^I3 spent in this day, week and month$/, "x.spent_at is not null"),
    ),
    since: unseen(
      "when they joined, the last time: for people to read; until decides whether they may spend",
    ),
    until: field(
      [
        { to: "null", where: "x.until is not null", named: /^I3 a member has one payer$/ },
        { to: "clock_timestamp()", where: "x.until is null", named: /^I3 a member has one payer$/ },
        {
          to: "x.since",
          where: "x.until is not null and x.spent_at is not null",
          named: /^I4 who spent is of the team$/,
        },
      ],
      freeWays(
        ["more", "much more", "less"],
        "no sooner than what they last spent: when they left, for people",
      ),
    ),
  },

  token_storage_quotas: {
    user_id: field([{ to: another, where: ofPlan, named: storage }], freeWhere(`not ${ofPlan}`, besidePlan)),
    id: field([{ to: another, where: ofPlan, named: storage }], freeWhere(`not ${ofPlan}`, besidePlan)),
    quota_gb: field(off("quota_gb", storage, ofPlan), freeWhere(`not ${ofPlan}`, besidePlan)),
    granted_at: field(hoursOff("granted_at", storage, ofPlan), freeWhere(`not ${ofPlan}`, besidePlan)),
    subscription_id: field(
      [{ to: another, where: ofPlan, named: storage }],
      freeWhere(`not ${ofPlan}`, besidePlan),
    ),
    metadata: field([{ to: "'{}'", where: ofPlan, named: storage }], freeWhere(`not ${ofPlan}`, besidePlan)),
    created_at: field(hoursOff("created_at", storage, ofPlan), freeWhere(`not ${ofPlan}`, besidePlan)),
  },

  token_alerts: {
    user_id: field([{ to: another, named: /^I3 (the account knows its last alert|alerts are numbered)/ }]),
    id: field(
      [
        {
          to: "x.id + 1000 + $2",
          where: `not ${ofProject}`,
          named: /^I3 (the account knows its last alert|alerts are numbered)/,
        },
      ],
      freeWhere(ofProject, "the project's alerts have their numbers from a sequence, with gaps"),
    ),
    kind: unseen(toldOnce),
    rule: unseen(toldOnce),
    epoch: unseen(toldOnce),
    grant_id: field([{ to: another, named: /^I3 an alert is of what is there$/ }]),
    request_id: field([{ to: another, named: /^I3 an alert is of what is there$/ }]),
    payload: field(
      [{ to: "'{}'", where: "x.kind = 'top_up_requested'", named: topUp }],
      freeWhere("x.kind <> 'top_up_requested'", toldOnce),
      freeWays(["added to"], toldOnce),
    ),
    created_at: field(
      hoursOff("created_at", topUp, "x.kind = 'top_up_requested'"),
      freeWhere("x.kind <> 'top_up_requested'", toldOnce),
    ),
  },

  token_top_up_requests: {
    user_id: field([{ to: another, named: topUp }]),
    id: field([{ to: another, named: topUp }]),
    status: unseen(charged),
    tokens: field(off("tokens", topUp, "x.tokens is not null")),
    plan_type: field([{ to: "'annual'", named: topUp }]),
    pack_type: field([
      { to: "case when x.pack_type is null then 'one' end", named: topUp },
      { to: "'another'", named: topUp },
    ]),
    quantity: field(off("quantity", topUp)),
    amount_cents: unseen(charged),
    currency: unseen(charged),
    customer_id: unseen(charged),
    attempts: unseen(charged),
    first_attempt_at: unseen(charged),
    next_attempt_at: unseen(charged),
    reason: unseen(charged),
    created_at: field(hoursOff("created_at", topUp)),
    settled_at: unseen(charged),
  },

  token_top_ups: Object.fromEntries(
    [
      "user_id",
      "is_enabled",
      "below_tokens",
      "tokens",
      "plan_type",
      "pack_type",
      "quantity",
      "cooldown_seconds",
      "max_requests",
      "window_seconds",
      "paused_at",
      "updated_at",
    ].map((column) => [column, unseen("a user's choice: nothing in the books says what it should be")]),
  ),

  token_spend_caps: Object.fromEntries(
    ["user_id", "spend_window", "tokens", "reason", "actor_role", "actor_id", "updated_at"].map((column) => [
      column,
      unseen(setting),
    ]),
  ),

  "tokenbook.archived_usage": {
    user_id: field([{ to: another, named: archived }]),
    starts_at: field(hoursOff("starts_at", archived)),
    action_type: field([{ to: "'something_else'", named: archived }]),
    member_id: field([{ to: another, named: archived }]),
    uses: field(off("uses", archived)),
    tokens: field(off("tokens", archived)),
    charged_cents: field(off("charged_cents", /^I3 total cost$/)),
    ...Object.fromEntries(
      [
        "model_used",
        "failed_uses",
        "tokens_uncovered",
        "input_tokens",
        "output_tokens",
        "cached_tokens",
        "reasoning_tokens",
        "images",
        "seconds",
        "cost_cents",
        "uses_without_cost",
      ].map((column) => [
        column,
        unseen("what was measured, of which no token depends: the archive's file has it"),
      ]),
    ),
  },
  "tokenbook.archived_usage_receipts": Object.fromEntries(
    ["user_id", "usage_id", "tokens_used", "tokens_uncovered", "cost_estimate"].map((column) => [
      column,
      unseen(
        "what a repeated call is told beside the ledger: the archive's file has it, and no token depends on it",
      ),
    ]),
  ),

  "tokenbook.upcoming_grants": {
    user_id: field([{ to: another, named: toCome }]),
    id: field([{ to: another, named: toCome }]),
    starts_at: field(hoursOff("starts_at", toCome)),
    transaction_id: field(off("transaction_id", toCome)),
  },

  token_legacy_transactions: {
    user_id: field([], beforeTheBooks),
    id: field([{ to: "x.id - 1000 - $2", named: /^I3 old transactions are numbered down from 0$/ }]),
    legacy_id: unseen(beforeTheBooks),
    action_type: unseen(beforeTheBooks),
    tokens: unseen(beforeTheBooks),
    metadata: unseen(beforeTheBooks),
    created_at: unseen(beforeTheBooks),
  },
};

/** Tables that are not the books, and why nothing in the books says what they should be. */
export const notTheBooks: Record<string, string> = {
  "public.token_plans": "the project's own catalogue",
  "public.token_packs": "the project's own catalogue",
  "public.token_model_prices": "the project's own prices",
  "public.token_model_rates": "the project's own prices",
  "public.token_action_costs": "the project's own prices",
  "public.token_grant_types": "what the project chose; a grant keeps what it was given on",
  "public.token_default_spend_caps": "the project's own choice",
  "public.token_alert_rules": "the project's own choice, and its users'",
  "tokenbook.burn_orders": "the project's own choice; I8 compares the settings with it",
  "tokenbook.project_settings":
    "made of burn_orders, token_alert_rules and token_default_spend_caps; I8 compares the burn order, I3 the caps",
  "tokenbook.admins": "who is an admin now: kept by hand",
  "tokenbook.codes": "the project's own choice, and a count of how often each was redeemed",
  "tokenbook.code_redemptions":
    "which entry redeemed which code; I5 compares the entries with it, how many there are of a user decides of the next",
  "tokenbook.chosen_referral_policy": "the project's own choice",
  "tokenbook.referral_codes": "a random code, and a count of rewards: nothing else says what they are",
  "tokenbook.referrals":
    "the referrer of a user: recorded here only; I5 compares the two grants with their entries",
  "tokenbook.code_attempts": "how often somebody guessed: no token depends on it",
  "tokenbook.moves": "how far a move to another project is, and where to: it moves no token by itself",
  "tokenbook.test_users": "whose clock tests advance: none in production, and no token depends on it",
  "tokenbook.subjects": "who somebody is who signs in elsewhere: no token depends on it",
  "tokenbook.token_alert_states":
    "on which side of a threshold somebody was told that they are: no token depends on it",
  "tokenbook.acknowledged_findings":
    "what an admin has said of a finding: it holds only while the finding is as it was",
  "tokenbook.changes": "who changed a setting and why: an append-only log, of which no token is made",
  "tokenbook.chosen_limits": "the project's own choice",
  "tokenbook.chosen_model_policy": "the project's own choice",
  "tokenbook.chosen_trial_policy": "the project's own choice",
  "tokenbook.sales":
    "what was sold, made of the payments and grants and counted from the ledger; made again from them where it is lost",
  "tokenbook.sale_accounts": "how far the ledger is counted in sales and revenue_totals",
  "tokenbook.sale_rounds": "how far the round has come that looks for what is not counted",
  "tokenbook.revenue_totals": "counted from the ledger by sales; no token depends on it",
  "tokenbook.usage_totals":
    "made of token_usage and archived_usage, and made again from them where it is emptied with its marks",
  "tokenbook.usage_archives": "which files there are: the digest of each finds it wrong",
  "tokenbook.webhook_endpoints": "the project's own choice",
  "tokenbook.webhook_deliveries":
    "what is sent of what has happened, and how far that has come: no token depends on it",
  "tokenbook.usage_marks": "how far usage_totals has been made",
  "tokenbook.trial_keys": "a random key: nothing else says what it is",
  "tokenbook.trials_taken":
    "digests without a user, so that they outlive the user: they record trials, and no token that was given depends on them",
  "tokenbook.provider_customers":
    "whose a provider's customer is: finds the user of a payment to come, and says nothing of one that is booked",
  "tokenbook.provider_subscriptions":
    "what a provider says of subscriptions: no token depends on it, and what it did to a plan is kept by that plan's entry",
  "tokenbook.provider_subscription_events":
    "what a provider told of subscriptions: no token depends on it, and what it did to a plan is kept by that plan's entry",
  "tokenbook.set_aside_accounts": "what a sweep came upon: made anew when it comes upon it again",
  "tokenbook.shadow": "which counter of the project's runs beside the books, as a command was told",
  "tokenbook.shadow_balances":
    "what the books have of that counter: tokenbook shadow compares it with both, and no token depends on it once booked",
  "tokenbook.shadow_changes": "what is not booked yet",
  "tokenbook.ledger_checkpoints":
    "digests of the ledger, to read on from: a checkpoint that was kept elsewhere finds them wrong",
  "tokenbook.failed_registrations": "a log",
  "tokenbook.migration_reports": "a log",
  "tokenbook.archived_profile_counters": "copies from before the books",
  "tokenbook.cleared_token_balances": "copies from before the books",
};
