import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { connectAsOwner } from "../support/storm.ts";

/** A table with a function that names the rule a row breaks, and each rule said by itself, as a CHECK of its own would. */
interface Ruled {
  broken: string;
  /** A row that is as it should be; what it does not say has a default or is NULL. */
  sound: Record<string, string>;
  rules: Record<string, { holds: string; broken: Record<string, string> }>;
  /** What else a column may be, to be combined at random. */
  choices: Record<string, string[]>;
  /** Rules that the verifier alone asks for: what is written there has one form. */
  unasked?: string[];
}

const user = "'00000000-0000-4000-8000-000000000001'::uuid";
const kinds = [
  "deduction",
  "usage",
  "hold",
  "release",
  "grant",
  "refund",
  "expiry",
  "void",
  "rollover",
  "restatement",
  "opening_balance",
  "clawback",
  "restoration",
  "debt_repayment",
];
const numbers = ["null", "-9", "-1", "0", "1", "9"];

const tables: Record<string, Ruled> = {
  token_transactions: {
    broken: "broken_transaction_rule",
    sound: {
      user_id: user,
      id: "5::bigint",
      entry_type: "'grant'",
      action_type: "'admin_grant'",
      tokens: "9::bigint",
      balance_after: "9::bigint",
      debt_change: "0::bigint",
      reserved_change: "0::bigint",
      grant_ids: `array[${user}]`,
      grant_tokens: "array[9]::bigint[]",
      reason: "'a reason'",
      actor_role: "'service'",
      actor_id: "null::uuid",
      idempotency_key: "null::text",
      request: "null::jsonb",
      original_id: "null::bigint",
    },
    rules: {
      sign_follows_entry_type: {
        holds: `case when entry_type in ('deduction', 'expiry', 'debt_repayment') then tokens < case when debt_change = 0 then 0 when debt_change <> 0 then 1 end
          when entry_type in ('grant', 'refund') then tokens > case when debt_change = 0 then 0 when debt_change <> 0 then -1 end when entry_type in ('usage', 'hold', 'release') then tokens = 0
          when entry_type in ('void', 'clawback') then tokens <= 0 when entry_type in ('opening_balance', 'restoration') then tokens >= 0
          when entry_type in ('rollover', 'restatement') then tokens <> 0 else false end`,
        broken: { tokens: "-9" },
      },
      debt_follows_entry_type: {
        holds: `case entry_type when 'clawback' then debt_change >= 0 when 'opening_balance' then debt_change >= 0 when 'restoration' then debt_change <= 0
          when 'deduction' then debt_change >= 0 when 'refund' then debt_change <= 0
          when 'debt_repayment' then debt_change = tokens else debt_change = 0 end`,
        broken: { debt_change: "1" },
      },
      reserve_follows_entry_type: {
        holds: `case entry_type when 'deduction' then reserved_change = 0 or reserved_change = tokens
          when 'hold' then reserved_change > 0 when 'release' then reserved_change < 0 else reserved_change = 0 end`,
        broken: { reserved_change: "1" },
      },
      are_numbered_from_one: { holds: "id >= 1", broken: { id: "0" } },
      balance_is_never_negative: { holds: "balance_after >= 0", broken: { balance_after: "-1" } },
      undo_what_came_before: {
        holds: "original_id is null or original_id < id",
        broken: { original_id: "5" },
      },
      each_grant_has_its_tokens: {
        holds: "cardinality(grant_ids) = cardinality(grant_tokens)",
        broken: { grant_tokens: "array[4, 5]" },
      },
      action_of_a_grant_is_a_grant: {
        holds: `(entry_type = 'grant') = (action_type in
          ('subscription_grant', 'renewal_grant', 'scheduled_grant', 'trial_grant', 'token_pack_purchase', 'admin_grant'))`,
        broken: { action_type: "'chat_conversation'" },
      },
      reason_is_given: { holds: "length(reason) between 1 and 500", broken: { reason: "''" } },
      actor_is_known: {
        holds: `actor_role in ('service', 'user', 'admin', 'system')
          and (actor_id is not null) = (actor_role in ('user', 'admin'))`,
        broken: { actor_role: "'user'" },
      },
      key_keeps_its_request: {
        holds: "(idempotency_key is null) = (request is null)",
        broken: { idempotency_key: "'a key'" },
      },
    },
    choices: {
      entry_type: [...kinds, "another"].map((kind) => `'${kind}'`),
      tokens: numbers,
      id: ["null", "0", "5"],
      debt_change: numbers,
      reserved_change: numbers,
      balance_after: ["null", "-1", "0"],
      original_id: ["null", "4", "5"],
      grant_tokens: ["null", "array[9]", "array[4, 5]"],
      action_type: ["null", "'admin_grant'", "'expiry'"],
      reason: ["null", "''", "'x'", "repeat('x', 501)"],
      actor_role: ["null", "'service'", "'user'", "'nobody'"],
      actor_id: ["null", user],
      idempotency_key: ["null", "'a key'"],
      request: ["null", "'{}'"],
    },
  },
  token_accounts: {
    broken: "broken_account_rule",
    sound: {
      user_id: user,
      payer_id: "null::uuid",
      state: "'active'::text",
      tokens_remaining: "0::bigint",
      tokens_reserved: "0::bigint",
      tokens_used: "0::bigint",
      tokens_expired: "0::bigint",
      tokens_owed: "0::bigint",
      overdraft_limit: "null::bigint",
    },
    rules: {
      ...Object.fromEntries(
        ["remaining", "reserved", "used", "expired", "owed"].map((total) => [
          `${total}_is_never_negative`,
          { holds: `tokens_${total} >= 0`, broken: { [`tokens_${total}`]: "-1" } },
        ]),
      ),
      state_is_known: { holds: "state in ('active', 'frozen')", broken: { state: "'closed'" } },
      totals_stay_exact_in_json: {
        holds: "tokens_remaining + tokens_reserved + tokens_used <= 9007199254740991",
        broken: { tokens_used: "9007199254740992" },
      },
      overdraft_is_within_limits: {
        holds: "overdraft_limit between 0 and 1000000000000",
        broken: { overdraft_limit: "-1" },
      },
      are_not_their_own_payers: { holds: "payer_id <> user_id", broken: { payer_id: user } },
    },
    choices: {
      payer_id: ["null", user, "gen_random_uuid()"],
      state: ["null", "'active'", "'frozen'", "'closed'"],
      tokens_remaining: [...numbers, "9007199254740991"],
      tokens_reserved: numbers,
      tokens_used: [...numbers, "9007199254740991", "9007199254740991"],
      tokens_expired: numbers,
      tokens_owed: numbers,
      overdraft_limit: ["null", "-1", "0", "1000000000001"],
    },
  },
  token_balances: {
    broken: "broken_grant_rule",
    sound: {
      user_id: user,
      grant_type: "'admin'",
      tokens_granted: "9::bigint",
      tokens_remaining: "9::bigint",
      is_open: "true",
      priority: "50::smallint",
      granted_at: "'2026-01-01'::timestamptz",
      expires_at: "null::timestamptz",
      cost_basis_cents: "null::bigint",
      currency: "null::text",
      cost_basis_of: "null::uuid",
      payment_id: "null::uuid",
    },
    rules: {
      granted_is_within_the_limit: {
        holds: "tokens_granted between 1 and 1000000000000",
        broken: { tokens_granted: "1000000000001" },
      },
      remaining_is_never_negative: { holds: "tokens_remaining >= 0", broken: { tokens_remaining: "-1" } },
      remaining_is_at_most_granted: {
        holds: "tokens_remaining <= tokens_granted",
        broken: { tokens_remaining: "10" },
      },
      open_means_tokens_remain: { holds: "is_open = (tokens_remaining > 0)", broken: { is_open: "false" } },
      priority_is_between_0_and_100: { holds: "priority between 0 and 100", broken: { priority: "101" } },
      expires_after_it_was_granted: {
        holds: "expires_at > granted_at",
        broken: { expires_at: "'2026-01-01'" },
      },
      expiry_is_finite: { holds: "isfinite(expires_at)", broken: { expires_at: "'infinity'" } },
      cost_basis_is_cents_of_a_currency: {
        holds:
          "(cost_basis_cents is null and currency is null) or coalesce(cost_basis_cents >= 0 and currency is not null, false)",
        broken: { currency: "'eur'" },
      },
      cost_basis_is_said_once: {
        holds: "cost_basis_of is null or (cost_basis_cents is null and payment_id is null)",
        broken: { cost_basis_of: user, payment_id: user },
      },
      grant_type_is_known: {
        holds: "grant_type in ('annual', '28day', 'trial', 'purchase', 'admin', 'plan')",
        broken: { grant_type: "'gift'" },
      },
    },
    choices: {
      grant_type: ["null", "'admin'", "'gift'"],
      tokens_granted: ["null", "0", "9", "1000000000001"],
      tokens_remaining: ["null", "-1", "0", "9", "10"],
      is_open: ["null", "true", "false"],
      priority: ["null", "-1::smallint", "0::smallint", "101::smallint"],
      granted_at: ["null", "'2026-01-01'", "'infinity'"],
      expires_at: ["null", "'2025-01-01'", "'2026-01-01'", "'2027-01-01'", "'infinity'", "'-infinity'"],
      cost_basis_cents: ["null", "null", "-1", "0"],
      currency: ["null", "null", "'eur'"],
      cost_basis_of: ["null", "null", user],
      payment_id: ["null", "null", user],
    },
  },
  token_holds: {
    broken: "broken_hold_rule",
    sound: {
      user_id: user,
      id: user,
      status: "'open'",
      tokens: "9::bigint",
      grant_ids: `array[${user}]`,
      grant_tokens: "array[9]::bigint[]",
      expires_at: "'2026-01-01 01:00+00'::timestamptz",
      action_type: "'chat_conversation'",
      actor_role: "'service'",
      transaction_id: "1::bigint",
      tokens_captured: "null::bigint",
      settled_at: "null::timestamptz",
      created_at: "'2026-01-01 00:00+00'::timestamptz",
      parent_id: "null::uuid",
      tokens_passed: "0::bigint",
      children_captured: "0::bigint",
    },
    rules: {
      tokens_are_within_limits: {
        holds: "tokens >= 0 and tokens + tokens_passed between 1 and 1000000000000",
        broken: { tokens: "0" },
      },
      children_pay_what_was_passed: {
        holds: "children_captured between 0 and tokens_passed",
        broken: { children_captured: "1" },
      },
      children_have_no_children: {
        holds: "parent_id is null or (tokens_passed = 0 and parent_id <> id)",
        broken: { parent_id: user },
      },
      live_at_most_a_day: {
        holds: "expires_at > created_at and expires_at <= created_at + interval '24 hours'",
        broken: { expires_at: "'2026-01-03'" },
      },
      captured_is_part_of_held: { holds: "tokens_captured <= tokens", broken: { tokens_captured: "10" } },
      are_settled_once: {
        holds: `case status when 'open' then settled_at is null and tokens_captured is null
          when 'captured' then settled_at is not null and tokens_captured >= 0
          when 'released' then settled_at is not null and tokens_captured = 0
          when 'expired' then settled_at >= expires_at and tokens_captured = 0 else false end`,
        broken: { status: "'captured'" },
      },
    },
    choices: {
      status: ["null", "'open'", "'captured'", "'released'", "'expired'", "'another'"],
      tokens: ["null", "0", "1000000000001"],
      tokens_captured: ["null", "-1", "0", "9", "10"],
      settled_at: ["null", "'2026-01-01 00:30+00'", "'2026-01-01 02:00+00'"],
      expires_at: ["null", "'2026-01-01 00:00+00'", "'2026-01-03 00:00+00'"],
      parent_id: ["null", "null", user, "gen_random_uuid()"],
      tokens_passed: ["null", "0", "0", "9"],
      children_captured: ["null", "0", "0", "9", "10"],
    },
    unasked: ["are_settled_once"],
  },
};

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

/**
 * The row as its table's writer writes it: into the ledger by the one function that appends to it, else by INSERT. Of a
 * hold, which has one form as it is made, what comes of it later.
 */
const write = (table: string, row: Record<string, string>): string =>
  table === "token_holds"
    ? `${insert(table, tables[table]!.sound)}; update public.${table} set (${Object.keys(row).join(", ")}) = row(${Object.values(row).join(", ")})`
    : table !== "token_transactions"
      ? insert(table, row)
      : `select tokenbook.append_transactions(array_agg(jsonb_populate_record(null::public.${table}, to_jsonb(x)
         || '{"metadata": {}, "created_at": "2026-01-01"}')))
         from (select ${values(row)}) x`;

const insert = (table: string, row: Record<string, string>) =>
  `insert into public.${table} (${Object.keys(row).join(", ")}) values (${Object.values(row).join(", ")})`;

const values = (row: Record<string, string>) =>
  Object.entries(row)
    .map(([column, value]) => `${value} as ${column}`)
    .join(", ");

describe.each(Object.entries(tables))("%s", (table, { sound, rules, unasked = [] }) => {
  test("a sound row is taken", async () => {
    await db.admin.query(`begin; ${write(table, sound)}; rollback`);
  });

  const asked = Object.entries(rules).filter(([rule]) => !unasked.includes(rule));
  test.each(asked)("a row is refused by name: %s", async (rule, { broken }) => {
    await expect(db.admin.query(write(table, { ...sound, ...broken }))).rejects.toMatchObject({
      code: "23514",
      schema: "public",
      table,
      constraint: `${table}_${rule}`,
      message: `new row for relation "${table}" violates check constraint "${table}_${rule}"`,
      detail: expect.stringMatching(/^Failing row contains .*\.$/),
    });
  });

  test("whatever is in a row, NULL too, it is refused exactly when a rule is broken, by that one's name", async () => {
    const held = Object.fromEntries(Object.entries(rules).map(([rule, { holds }]) => [rule, holds]));
    const { mix, wrong } = await trial(table, held, 3_000);
    console.log(`table=${table} rows=3000 mix=${JSON.stringify(mix)} wrong=${wrong.length}`);
    expect(wrong.slice(0, 3)).toEqual([]);
    expect(mix["taken"]).toBeGreaterThan(300);
    expect(Object.keys(mix).toSorted()).toEqual([...Object.keys(rules), "taken"].toSorted());

    // the trial sees a rule that is not looked at, and one that NULL would break
    for (const [rule, { holds }] of Object.entries(rules)) {
      expect((await trial(table, { ...held, [rule]: "true" }, 1_000)).wrong.length, rule).toBeGreaterThan(0);
      if (`${holds}`.includes("null")) continue;
      const strict = await trial(table, { ...held, [rule]: `coalesce(${holds}, false)` }, 1_000);
      expect(strict.wrong.length, `${rule}, strictly`).toBeGreaterThan(0);
    }
  });
});

/** Rows, some columns of each as they should be and some not: what the function says, and what the rules say. */
async function trial(table: string, held: Record<string, string>, rowsTried: number) {
  const { broken: function_, sound, choices } = tables[table]!;
  const columns = Object.entries(sound).map(([column, value]) => {
    const others = choices[column] ?? [];
    const cases = others.map((other, nth) => `when ${nth} then ${other}`).join(" ");
    return others.length === 0
      ? `${value} as ${column}`
      : `case (case when random() < r.share then floor(random() * ${others.length})::int end) ${cases} else ${value} end as ${column}`;
  });
  const names = Object.keys(sound)
    .map((column) => `row_of.${column}`)
    .join(", ");
  const broken = Object.entries(held).map(
    ([rule, holds]) => `select '${rule}' from (select ${names}) t where (${holds}) is false`,
  );
  const client = await connectAsOwner(db);
  try {
    await client.query(`
      create function pg_temp.verdicts() returns table (broken text[], said text) language plpgsql as $$
      declare
        row_of record;
      begin
        perform setseed(0.5);
        for row_of in
          select ${columns.join(", ")}
            from (select 0.3 * random() as share from generate_series(1, ${rowsTried})) r
        loop
          broken := array(${broken.join(" union all ")});
          said := coalesce(tokenbook.${function_}(jsonb_populate_record(null::public.${table}, to_jsonb(row_of))), 'taken');
          return next;
        end loop;
      end $$`);
    const { rows } = await client.query<{ broken: string[]; said: string }>(
      "select * from pg_temp.verdicts()",
    );
    const mix: Record<string, number> = {};
    for (const { said } of rows) mix[said] = (mix[said] ?? 0) + 1;
    const wrong = rows
      .filter((row) => (row.said === "taken" ? row.broken.length > 0 : !row.broken.includes(row.said)))
      .map((row) => `the function says ${row.said}, broken is ${row.broken.join(", ") || "nothing"}`);
    return { mix, wrong };
  } finally {
    await client.end();
  }
}
