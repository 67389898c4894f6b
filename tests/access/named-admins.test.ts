/** Whatever an admin changes says that it was they. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { argumentsAbout, type Callable, callablesOf, callOf } from "../support/calls.ts";
import { oldUser } from "../audit/replay/old-user.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { populateUser } from "../support/populated-user.ts";
import { asAdmin, asService, createUser, rpc } from "../support/roles.ts";
import { letTimePass } from "../support/time.ts";
import { recordPaymentEvent } from "../support/provider-events.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

type Rows = Map<string, { table: string; row: Record<string, unknown> }>;

/** Every row of ours, by what it says. */
async function rowsOf(on: Database): Promise<Rows> {
  const { rows: tables } = await on.admin.query<{ name: string }>(`
    select format('%I.%I', n.nspname, c.relname) as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname in ('public', 'tokenbook') and c.relkind in ('r', 'p') and not c.relispartition`);
  const { rows } = await on.admin.query<{ table: string; row: Record<string, unknown> }>(
    tables
      .map(({ name }) => `select '${name}' as table, to_jsonb(x) as row from ${name} x`)
      .join(" union all "),
  );
  return new Map(rows.map((one) => [`${one.table} ${JSON.stringify(one.row)}`, one]));
}

type Arguments = Record<string, unknown>;

/** A user whom a restatement has something to take from. */
async function overGranted(on: Database): Promise<{ p_user_id: string }> {
  const { user } = await oldUser(on, {
    grants: [{ tokens: 100, granted: "9 days" }],
    deductions: [[40, "8 days"]],
  });
  return { p_user_id: user };
}

/** A payment whose user and plan nobody knows. */
async function parked(on: Database, payment: string): Promise<Arguments> {
  await recordPaymentEvent(on, payment, { kind: "paid", amount_cents: 900, currency: "usd" });
  return { p_provider: "stripe", p_provider_payment_id: payment };
}

/** What is made so that a call has something to change, and what it is then called with. */
const before: Record<string, (on: Database, user: string) => Promise<Arguments | void>> = {
  async assign_parked_token_payment(on) {
    return { ...(await parked(on, "pi_to_assign")), p_plan_type: "starter" };
  },
  async prepare_token_checkout(on) {
    await on.admin.query(
      "update public.token_plans set stripe_price_id = 'price_starter' where plan_type = 'starter'",
    );
    return { p_plan_type: "starter", p_pack_type: null };
  },
  async dismiss_parked_token_payment(on) {
    return parked(on, "pi_to_dismiss");
  },
  restate_token_balances: overGranted,
  async acknowledge_token_finding(on, user) {
    await on.admin.query(`alter table public.token_transactions disable trigger user;
      update public.token_transactions set created_at = created_at + interval '1 day' where user_id = '${user}' and id = 2;
      alter table public.token_transactions enable trigger user`);
    return { p_transaction_id: 3 };
  },
  async reverse_token_restatement(on) {
    const whom = await overGranted(on);
    const { transaction_ids } = await asService(on, (client) =>
      rpc(client, "restate_token_balances", { ...whom, p_reason: "exact" }),
    );
    return { ...whom, p_transaction_id: transaction_ids[0] };
  },
  async renew_token_subscription(on, user) {
    await on.admin.query("update public.token_plans set balance_cap = 1 where plan_type = 'professional'");
    await letTimePass(on, user, 40);
  },
  async refund_token_payment(on, user) {
    const [admin, { rows }] = [
      await createUser(on, { admin: true }),
      await on.admin.query("select id from public.token_payments where user_id = $1 and status = 'pending'", [
        user,
      ]),
    ];
    await asAdmin(on, admin, (client) =>
      rpc(client, "approve_token_payment", { p_user_id: user, p_payment_id: rows[0].id }),
    );
    return { p_refunded_cents: 1 }; // too little to take a token
  },
  async claim_token_referral(on) {
    await asService(on, (client) =>
      rpc(client, "set_token_referral_policy", { p_referrer_tokens: 1, p_referred_tokens: 1 }),
    );
    return { p_user_id: await createUser(on) };
  },
  async remove_token_alert_rule(on) {
    await on.admin.query("select public.set_token_alert_rule('empty', 'depleted', p_for_everyone => true)");
    return { p_for_everyone: true, p_user_id: null };
  },
  retry_token_webhooks: givenUp,
  repeat_token_webhook_delivery: givenUp,
};

/** What was sent of the user, all of it given up. */
async function givenUp(on: Database, user: string) {
  await on.admin.query(
    `update tokenbook.webhook_deliveries
        set status = 'given_up', next_attempt_at = null, claim_id = null, settled_at = now() where user_id = $1`,
    [user],
  );
}

/** Computed from the ledger, for any caller. */
const computed = [
  "tokenbook.ledger_checkpoints",
  "tokenbook.sales",
  "tokenbook.sale_accounts",
  "tokenbook.sale_rounds",
  "tokenbook.revenue_totals",
];

/** What a call by an admin changed, and what in it does not say so. */
async function unnamed(on: Database, fn: Callable): Promise<{ changed: number; faults: string[] }> {
  const name = fn.name.replace("public.", "");
  const life = await populateUser(on);
  const more = await before[name]?.(on, life.id);
  const admin = await createUser(on, { admin: true });
  const args: Arguments = { ...argumentsAbout(life, fn), ...more };
  if (fn.parameters.some((parameter) => parameter.name === "p_idempotency_key"))
    args["p_idempotency_key"] = randomUUID();
  const was = await rowsOf(on);
  const { sql, values } = callOf(fn, args);
  await asAdmin(on, admin, (client) => client.query(sql, values));
  const made = [...(await rowsOf(on))]
    .filter(([key]) => !was.has(key))
    .map(([, one]) => one)
    .filter(({ table }) => !computed.includes(table))
    // a row of which words were erased goes on naming who made it
    .filter(({ row }) => name !== "forget_token_user" || row["change"] === name);

  const faults = made
    .filter(({ row }) => "actor_role" in row && row["actor_role"] !== "system" && "actor_id" in row)
    .filter(({ row }) => row["actor_role"] !== "admin" || row["actor_id"] !== admin)
    .map(({ table, row }) => `${name}: a row of ${table} names ${row["actor_role"]} ${row["actor_id"]}`);
  const isNamed = made.some(({ row }) => row["actor_id"] === admin);
  // what time did is nobody's: a plan that begins, what has run out
  const isTimes = made.every(({ row }) => row["actor_role"] === "system");
  if (made.length > 0 && !isNamed && !isTimes)
    faults.push(
      `${name}: changes ${[...new Set(made.map(({ table }) => table))].join(", ")} and names nobody`,
    );
  return { changed: made.length, faults };
}

async function trial(variant?: string): Promise<{ changing: string[]; faults: string[] }> {
  const on = await createDatabase();
  if (variant !== undefined) await applyMutant(on, variant);
  const { rows } = await on.admin.query<{ name: string }>(
    `select 'public.' || proname as name from pg_proc
      where pronamespace = 'public'::regnamespace and provolatile = 'v' and has_function_privilege('authenticated', oid, 'execute')`,
  );
  const volatile = new Set(rows.map(({ name }) => name));
  const changing: string[] = [];
  const faults: string[] = [];
  for (const fn of (await callablesOf(on)).filter(({ name }) => volatile.has(name))) {
    const found = await unnamed(on, fn);
    if (found.changed > 0) changing.push(fn.name.replace("public.", ""));
    faults.push(...found.faults);
  }
  await on.drop();
  return { changing, faults };
}

test("each function that an admin may call and that changes a row names them in it, or beside it", async () => {
  const { changing, faults } = await trial();
  console.log(`changing=${changing.length} faults=${faults.length}`);
  expect(faults).toEqual([]);
  expect(changing).toEqual([
    "acknowledge_token_finding",
    "add_token_team_member",
    "adjust_tokens",
    "approve_token_payment",
    "assign_parked_token_payment",
    "capture_tokens",
    "change_token_plan",
    "claim_token_referral",
    "create_token_code",
    "create_token_payment",
    "deduct_tokens_with_fifo",
    "dismiss_parked_token_payment",
    "end_token_code",
    "forget_token_user",
    "get_token_referral_code",
    "grant_tokens",
    "redeem_token_code",
    "refund_token_payment",
    "refund_tokens",
    "reject_token_payment",
    "release_tokens",
    "remove_token_alert_rule",
    "remove_token_team_member",
    "remove_token_webhook_endpoint",
    "renew_token_subscription",
    "repeat_token_webhook_delivery",
    "reserve_tokens",
    "restate_token_balances",
    "retry_token_webhooks",
    "reverse_token_restatement",
    "set_token_account_state",
    "set_token_action_cost",
    "set_token_alert_rule",
    "set_token_customer",
    "set_token_grant_expiry",
    "set_token_grant_type",
    "set_token_model_price",
    "set_token_model_rate",
    "set_token_overdraft",
    "set_token_pack",
    "set_token_plan",
    "set_token_spend_cap",
    "set_token_top_up",
    "set_token_webhook_endpoint",
    "settle_token_top_up",
    "track_token_usage",
    "void_token_grant",
  ]);
});

test("the test sees it: changes beside the ledger that name the server", { tags: ["proof"] }, async () => {
  const { faults } = await trial("changes-name-the-server");
  expect(faults).toContain("set_token_alert_rule: a row of tokenbook.changes names service null");
});

/** The actor of the tokens of a payment that an admin assigned, and the actor of its decision. */
async function assigned(variant?: string): Promise<Record<string, unknown>> {
  const on = await createDatabase();
  if (variant !== undefined) await applyMutant(on, variant);
  const [user, admin] = [await createUser(on), await createUser(on, { admin: true })];
  await asAdmin(on, admin, async (client) =>
    rpc(client, "assign_parked_token_payment", {
      ...(await parked(on, "pi_1")),
      p_user_id: user,
      p_plan_type: "starter",
    }),
  );
  const { rows } = await on.admin.query(
    `select t.actor_role, t.actor_id = $2 as is_admin, p.decided_by = $2 as was_decided_by_admin
       from public.token_transactions t
       join public.token_payments p on p.user_id = t.user_id and p.id = t.payment_id
      where t.user_id = $1 and t.entry_type = 'grant'`,
    [user, admin],
  );
  await on.drop();
  return rows[0];
}

test("the admin who assigns a parked payment is the actor of its tokens and of its decision", async () => {
  expect(await assigned()).toEqual({ actor_role: "admin", is_admin: true, was_decided_by_admin: true });
});

test("the test sees it: an assignment booked as the server's", { tags: ["proof"] }, async () => {
  expect(await assigned("assigned-payments-name-the-server")).toMatchObject({ actor_role: "service" });
});

test("users' own settings are not among the changes", async () => {
  const life = await populateUser(db);
  const { rows } = await db.admin.query(
    "select distinct change from tokenbook.changes where user_id = $1 order by 1",
    [life.id],
  );
  expect(rows.map(({ change }) => change)).toEqual([
    "add_token_team_member",
    "set_token_alert_rule",
    "set_token_spend_cap",
  ]);
});
