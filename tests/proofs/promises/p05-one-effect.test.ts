// @module-tag proof
import type pg from "pg";
import { breaches, grant } from "../../support/books.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { type DurableServer, startDurableServer } from "../../support/durable.ts";
import { applyMutant } from "../../support/mutants.ts";
import { asUser, createUser, rpc } from "../../support/roles.ts";
import { connectAsServer } from "../../support/storm.ts";
import { letTimePass } from "../../support/time.ts";
import { keep, type Tried } from "./promise.ts";

keep({
  id: "P5",
  promise: "One key has one effect and one receipt, for ever",
  trial:
    "Each operation that takes a key sent again and again by 40 connections, the database killed (SIGKILL) in the middle of it; again when everything is 400 days older; then with each argument changed, by another operation, by another user and by the user's own call",
  run: async (scale) => {
    const server = await startDurableServer();
    try {
      const { wrong, ...tried } = await tryIt(
        server.db,
        scale === "long" ? 1_000 : 60,
        scale === "long" ? 25 : 2,
        server,
      );
      return { ...tried, violations: wrong.length, examples: wrong.slice(0, 5) };
    } finally {
      await server.close();
    }
  },
  control: {
    variant: "looks for the key before it has the lock; forgets the key of what gave no tokens",
    // each of the two has to be seen by what it changed
    run: async () => {
      const db = await createDatabase();
      try {
        for (const { mutant } of variants) await applyMutant(db, mutant);
        const { wrong, ...tried } = await tryIt(db, 60, 1);
        const found = variants.map(({ seen }) => wrong.filter((one) => seen.test(one)));
        return {
          ...tried,
          violations: Math.min(...found.map(({ length }) => length)),
          examples: found.map(([first]) => first ?? "not seen"),
        };
      } finally {
        await db.drop();
      }
    },
  },
});

const variants = [
  { mutant: "replay-looked-up-before-the-lock", seen: /^(deduct|track|reserve|correction down): / },
  { mutant: "plan-changes-forget-their-key", seen: /^downgrade: / },
];

const CONNECTIONS = 40;
const KEY = "one-key";

/** The arguments of a call, by name. */
type Arguments = Record<string, unknown>;

interface Operation {
  calls: string;
  with: Arguments;
  /** What a second call with this key may not change; each change refused by that name. */
  changes?: Record<string, Arguments>;
  /** What happens to the user before, in SQL. */
  before?: string;
  /** Which of its arguments names something that the user has: a charge, a grant. */
  of?: { argument: string; sql: string };
}

const inAYear = new Date(Date.now() + 365 * 86_400_000).toISOString();

const operations: Record<string, Operation> = {
  grant: {
    calls: "grant_tokens",
    with: {
      p_tokens: 40,
      p_grant_type: "purchase",
      p_expires_at: "2199-01-01T00:00:00Z",
      p_priority: 40,
      p_reason: "a pack",
      p_metadata: { pack: 1 },
      p_granted_at: "2026-01-02T03:04:05.000006Z",
    },
    changes: {
      tokens: { p_tokens: 41 },
      grant_type: { p_grant_type: "admin" },
      expires_at: { p_expires_at: "2199-01-01T00:00:00.000001Z" },
      priority: { p_priority: 41 },
      reason: { p_reason: "another" },
      metadata: { p_metadata: { pack: 2 } },
      granted_at: { p_granted_at: null },
    },
  },
  deduct: {
    calls: "deduct_tokens_with_fifo",
    with: { p_tokens_to_deduct: 30, p_action_type: "chat_conversation", p_metadata: { chat: 1 } },
    changes: {
      tokens: { p_tokens_to_deduct: 31 },
      action_type: { p_action_type: "image_generation" },
      metadata: { p_metadata: {} },
    },
  },
  track: {
    calls: "track_token_usage",
    with: {
      p_action_type: "chat_conversation",
      p_model_used: "gpt-4o",
      p_input_tokens: 20,
      p_output_tokens: 10,
      p_cached_tokens: 5,
      p_metadata: { chat: 2 },
    },
    changes: {
      action_type: { p_action_type: "image_generation" },
      model_used: { p_model_used: "gpt-4o-mini" },
      input_tokens: { p_input_tokens: 21 },
      output_tokens: { p_output_tokens: 11 },
      cached_tokens: { p_cached_tokens: 6 },
      tokens_used: { p_tokens_used: 30 },
      success: { p_success: false },
      on_shortage: { p_on_shortage: "partial" },
      metadata: { p_metadata: { chat: 3 } },
    },
  },
  reserve: {
    calls: "reserve_tokens",
    with: { p_tokens: 50, p_ttl_seconds: 3_600, p_action_type: "chat_conversation" },
    changes: {
      tokens: { p_tokens: 49 },
      ttl_seconds: { p_ttl_seconds: 3_601 },
      action_type: { p_action_type: "image_generation" },
      metadata: { p_metadata: { a: 1 } },
    },
  },
  refund: {
    calls: "refund_tokens",
    with: { p_tokens: 7, p_reason: "it was wrong" },
    of: {
      argument: "p_transaction_id",
      sql: "select max(id) as id from public.token_transactions where user_id = $1 and entry_type = 'deduction'",
    },
    changes: {
      tokens: { p_tokens: 8 },
      reason: { p_reason: "it was right" },
      expired_policy: { p_expired_policy: "reissue", p_lifetime_days: 30 },
      transaction_id: { p_transaction_id: 1 },
    },
  },
  "grant to come": {
    calls: "grant_tokens",
    with: {
      p_tokens: 40,
      p_grant_type: "purchase",
      p_expires_at: "2199-01-01T00:00:00Z",
      p_starts_at: inAYear,
    },
    changes: {
      tokens: { p_tokens: 41 },
      starts_at: { p_starts_at: new Date(Date.parse(inAYear) + 1).toISOString() },
    },
  },
  "change of an expiry": {
    calls: "set_token_grant_expiry",
    with: { p_expires_at: "2999-01-01T00:00:00Z", p_reason: "a promise" },
    of: {
      argument: "p_grant_id",
      sql: "select id from public.token_balances where user_id = $1 and grant_type = 'trial'",
    },
    changes: {
      reason: { p_reason: "none" },
      expires_at: { p_expires_at: "2998-01-01T00:00:00Z" },
    },
  },
  void: {
    calls: "void_token_grant",
    with: { p_reason: "a mistake" },
    of: {
      argument: "p_grant_id",
      sql: "select id from public.token_balances where user_id = $1 and grant_type = 'trial'",
    },
    changes: {
      reason: { p_reason: "none" },
      take_back: { p_take_back: true },
      grant_id: { p_grant_id: "00000000-0000-4000-8000-000000000001" },
    },
  },
  "correction up": {
    calls: "adjust_tokens",
    with: { p_delta: 25, p_reason: "too few" },
    changes: {
      delta: { p_delta: -25 },
      reason: { p_reason: "too many" },
      metadata: { p_metadata: { a: 1 } },
    },
  },
  "correction down": { calls: "adjust_tokens", with: { p_delta: -15, p_reason: "too many" } },
  upgrade: {
    calls: "change_token_plan",
    with: { p_plan_type: "professional", p_payment_method: "card" },
    changes: {
      plan_type: { p_plan_type: "annual" },
      payment_method: { p_payment_method: "paypal" },
      payment_id: { p_payment_id: "pi_1" },
    },
  },
  downgrade: {
    before: "select public.change_token_plan($1, 'annual', 'card')",
    calls: "change_token_plan",
    with: { p_plan_type: "professional" },
    changes: {
      plan_type: { p_plan_type: "annual" },
      payment_method: { p_payment_method: "paypal" },
      payment_id: { p_payment_id: "pi_1" },
    },
  },
  "upgrade to a plan with a cap": {
    calls: "change_token_plan",
    with: { p_plan_type: "full" },
    changes: { plan_type: { p_plan_type: "annual" }, payment_method: { p_payment_method: "paypal" } },
  },
  "restating of nothing": {
    calls: "restate_token_balances",
    with: { p_reason: "exact history" },
    changes: { reason: { p_reason: "another" } },
  },
  "asking for a plan": {
    calls: "create_token_payment",
    with: { p_to_plan: "professional" },
    changes: { to_plan: { p_to_plan: "annual" } },
  },
  "asking for packs": {
    calls: "create_token_payment",
    with: { p_pack_type: "pack", p_quantity: 2 },
    changes: {
      pack_type: { p_pack_type: "other" },
      quantity: { p_quantity: 3 },
      to_plan: { p_to_plan: "annual", p_pack_type: null, p_quantity: 1 },
    },
  },
  "an item of a batch": {
    calls: "deduct_tokens_batch",
    with: { tokens: 20, action_type: "metering", metadata: { meter: 1 } },
    changes: {
      tokens: { tokens: 21 },
      action_type: { action_type: "deduction" },
      metadata: { metadata: { meter: 2 } },
    },
  },
};

interface Receipt extends Record<string, unknown> {
  replayed: boolean;
}

/** Calls it under the key. An item of a batch is refused in its result; here it is as with the others. */
async function call(
  client: pg.ClientBase,
  { calls }: Operation,
  user: string,
  args: Arguments,
): Promise<Receipt> {
  if (calls === "deduct_tokens_batch") {
    const item = { user_id: user, idempotency_key: KEY, ...args };
    const { rows } = await client.query("select public.deduct_tokens_batch($1) #> '{results,0}' as receipt", [
      JSON.stringify([item]),
    ]);
    const { error } = rows[0].receipt;
    if (error === undefined) return rows[0].receipt;
    throw Object.assign(new Error(error.code), {
      code: "PT422",
      detail: JSON.stringify({ differs: error.differs }),
    });
  }
  const all: Arguments = { p_user_id: user, p_idempotency_key: KEY, ...args };
  const names = Object.keys(all).map((name, i) => `${name} => $${i + 1}`);
  const { rows } = await client.query(
    `select public.${calls}(${names.join(", ")}) as receipt`,
    Object.values(all),
  );
  return rows[0].receipt;
}

/** Somebody with everything that any of the operations needs. */
async function someone(db: Database, { before }: Pick<Operation, "before">): Promise<string> {
  const user = await createUser(db);
  await db.admin.query(
    "insert into tokenbook.subscriptions (user_id, plan_type, billing_cycle) values ($1, 'free', 'none')",
    [user],
  );
  await grant(db, user, 100);
  await grant(db, user, 200, { type: "trial", expires_in: "30 days" });
  await db.admin.query("select public.deduct_tokens_with_fifo($1, 60)", [user]);
  if (before !== undefined) await db.admin.query(before, [user]);
  return user;
}

/** What the books of a user amount to: two users to whom the same happened have the same. */
async function amounts(db: Database, user: string): Promise<string> {
  const { rows } = await db.admin.query(
    `select (select row(a.tokens_remaining, a.tokens_reserved, a.tokens_used, a.tokens_owed, a.total_cost, a.last_transaction_id)::text
               from public.token_accounts a where a.user_id = $1) as account,
            (select string_agg(format('%s %s %s', t.entry_type, t.tokens, t.reserved_change), ', ' order by t.id)
               from public.token_transactions t where t.user_id = $1) as ledger,
            (select string_agg(format('%s of %s', b.tokens_remaining, b.tokens_granted), ', ' order by b.granted_at, b.tokens_granted)
               from public.token_balances b where b.user_id = $1) as grants,
            (select format('%s, then %s', s.plan_type, s.next_plan_type) from public.token_subscriptions s
              where s.user_id = $1) as plan,
            (select count(*) from public.token_usage where user_id = $1) as usage,
            (select count(*) from public.token_holds where user_id = $1) as holds,
            (select count(*) from public.token_payments where user_id = $1) as payments`,
    [user],
  );
  return JSON.stringify(rows[0]);
}

/** One operation, its user, and what is known of it. */
interface Case extends Operation {
  name: string;
  user: string;
  args: Arguments;
  receipts: Set<string>;
  effects: number;
}

async function tryIt(
  db: Database,
  replays: number,
  changedTimes: number,
  server?: DurableServer,
): Promise<Omit<Tried, "violations"> & { wrong: string[] }> {
  const mix: Record<string, number> = {};
  const wrong: string[] = [];
  const count = (outcome: string, times = 1) => (mix[outcome] = (mix[outcome] ?? 0) + times);
  const argumentsFor = async ({ of, ...operation }: Operation, user: string): Promise<Arguments> =>
    of === undefined
      ? operation.with
      : { ...operation.with, [of.argument]: (await db.admin.query(of.sql, [user])).rows[0].id };
  // one that was built from the schema files has no plans yet
  await db.admin.query(
    `insert into public.token_plans (plan_type, name, tokens, price_cents, billing_cycle, rank)
     values ('free', 'Free', 10000, 0, 'none', 0), ('professional', 'Professional', 2000000, 3900, 'monthly', 30),
            ('annual', 'Annual', 5000000, 19900, 'annual', 40) on conflict do nothing`,
  );
  await db.admin.query(
    `insert into public.token_plans (plan_type, name, tokens, price_cents, billing_cycle, rank, balance_cap)
     values ('full', 'Full', 1000, 100, 'monthly', 20, 1)`,
  );
  await db.admin.query(
    "insert into public.token_packs (pack_type, name, tokens, price_cents) values ('pack', 'Pack', 10, 1), ('other', 'Other', 10, 1)",
  );
  const cases: Case[] = [];
  const once = new Map<string, string>();
  for (const [name, operation] of Object.entries(operations)) {
    const [user, twin] = [await someone(db, operation), await someone(db, operation)];
    await withClients(db, 1, async (client) => {
      await call(client, operation, twin, await argumentsFor(operation, twin));
    });
    once.set(name, await amounts(db, twin));
    const args = await argumentsFor(operation, user);
    cases.push({ ...operation, name, user, args, receipts: new Set(), effects: 0 });
  }

  // the same call, over and over, through a crash
  const work = async (from: number, until: number, crash?: () => Promise<void>): Promise<void> => {
    let next = from;
    let crashing: Promise<void> | undefined;
    await withClients(db, CONNECTIONS, async (client) => {
      for (let nth = next++; nth < until; nth = next++) {
        if (crash && nth >= (from + until) / 2) crashing ??= crash();
        const one = cases[nth % cases.length]!;
        try {
          const { replayed, ...receipt } = await call(client, one, one.user, one.args);
          one.receipts.add(JSON.stringify(receipt));
          if (!replayed) one.effects++;
          count(replayed ? "replayed" : "effects");
        } catch (error) {
          if (crash === undefined || (error as { message: string }).message === "idempotency_key_reused")
            throw error;
          count("cut off by the crash");
          return;
        }
      }
    });
    await crashing;
  };
  const half = Math.ceil((replays * cases.length) / 2);
  await work(
    0,
    half,
    server &&
      (async () => {
        await server.kill("all");
        await server.start();
      }),
  );
  await work(half, 2 * half);
  for (const { name, user, receipts, effects } of cases) {
    if (effects > 1) wrong.push(`${name}: ${effects} effects`);
    if (receipts.size !== 1) wrong.push(`${name}: ${receipts.size} receipts ${[...receipts].join(" ")}`);
    const [is, should] = [await amounts(db, user), once.get(name)];
    if (is !== should) wrong.push(`${name}: ${is}, and once is ${should}`);
  }
  if (server && !mix["cut off by the crash"]) wrong.push("nothing was cut off: the crash came too late");

  const client = await connectAsServer(db);
  // much later, when grants have run out, holds too, and the plan is over
  for (const one of cases) {
    await letTimePass(db, one.user, 400);
    await client.query("select public.get_user_token_balance($1)", [one.user]);
    const before = await digest(db, one.user);
    const { replayed, ...receipt } = await call(client, one, one.user, one.args);
    count("replayed after 400 days");
    const [first] = one.receipts;
    if (!replayed) wrong.push(`${one.name}: a second effect after 400 days`);
    if (timeless(receipt) !== timeless(JSON.parse(first!)))
      wrong.push(`${one.name}: after 400 days ${JSON.stringify(receipt)}, not ${first}`);
    if ((await digest(db, one.user)) !== before) wrong.push(`${one.name}: a row changed after 400 days`);
  }

  // the same key for something else
  for (const one of cases) {
    const before = await digest(db, one.user);
    const others = cases.filter(({ calls }) => calls !== one.calls && isInTheLedger(calls, one.calls));
    for (let time = 0; time < changedTimes; time++) {
      for (const [field, change] of Object.entries(one.changes ?? {})) {
        const refusal = await refusalOf(call(client, one, one.user, { ...one.args, ...change }));
        count("changed and refused");
        if (!refusal?.includes(field)) wrong.push(`${one.name} with another ${field}: ${refusal}`);
      }
      for (const other of others) {
        const refusal = await refusalOf(call(client, other, one.user, other.args));
        count("another operation, refused");
        if (refusal === null) wrong.push(`${other.name} with the key of ${one.name}: not refused`);
      }
    }
    if ((await digest(db, one.user)) !== before) wrong.push(`${one.name}: a refusal changed a row`);
  }

  // the same key of another user, or given by the user instead of the server, is another key
  for (const one of cases) {
    const other = await someone(db, one);
    const theirs = await call(client, one, other, await argumentsFor(operations[one.name]!, other));
    count("another user, an effect of its own");
    if (theirs.replayed) wrong.push(`${one.name}: another user's key was taken for this one`);
    if (!isForUsers(one)) continue;
    const own = await asUser(db, other, (api) =>
      rpc(api, one.calls, { p_user_id: other, p_idempotency_key: KEY, ...one.with }),
    );
    count("the user's own key, an effect of its own");
    if (own.replayed) wrong.push(`${one.name}: the user's key was taken for the server's`);
  }
  await client.end();
  if (server) wrong.push(...(await breaches(db)));
  const times = Object.values(mix).reduce((sum, one) => sum + one, 0);
  mix["operations"] = cases.length;
  return { times, unit: "calls", mix, wrong };
}

const isForUsers = ({ calls }: Operation) =>
  ["deduct_tokens_with_fifo", "create_token_payment"].includes(calls);

/** Requests for a plan have their keys among themselves: they are no transactions yet. */
const isInTheLedger = (...calls: string[]) => !calls.includes("create_token_payment");

/** The fields that a reuse of the key was refused for; null when it was not. */
async function refusalOf(asked: Promise<unknown>): Promise<string[] | null> {
  try {
    await asked;
    return null;
  } catch (error) {
    const { code, message, detail } = error as { code?: string; message: string; detail?: string };
    if (code !== "PT422" || message !== "idempotency_key_reused") throw error;
    return JSON.parse(detail!).differs;
  }
}

/** A receipt without its moments: time has been moved under it. A hold that ran out says that it did. */
const timeless = ({ status: _status, ...receipt }: Record<string, unknown>): string =>
  JSON.stringify(receipt).replaceAll(/"\d{4,}-\d\d-\d\dT[^"]*"/g, '"…"');

async function digest(db: Database, user: string): Promise<string> {
  const { rows } = await db.admin.query(
    `select md5(string_agg(row, '|' order by row)) as digest from (
       select to_jsonb(t)::text as row from public.token_transactions t where t.user_id = $1
       union all select to_jsonb(t)::text from public.token_accounts t where t.user_id = $1
       union all select to_jsonb(t)::text from public.token_balances t where t.user_id = $1
       union all select to_jsonb(t)::text from public.token_holds t where t.user_id = $1
       union all select to_jsonb(t)::text from public.token_usage t where t.user_id = $1
       union all select to_jsonb(t)::text from public.token_subscriptions t where t.user_id = $1
       union all select to_jsonb(t)::text from public.token_payments t where t.user_id = $1) rows`,
    [user],
  );
  return rows[0].digest;
}

async function withClients(
  db: Database,
  connections: number,
  work: (client: pg.Client) => Promise<void>,
): Promise<void> {
  const clients = await Promise.all(Array.from({ length: connections }, () => connectAsServer(db)));
  try {
    await Promise.all(clients.map(work));
  } finally {
    await Promise.all(clients.map((client) => client.end().catch(() => {})));
  }
}
