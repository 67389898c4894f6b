import type { ClientBase } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { asAdmin, asAnon, asService, asUser, createUser, rpc } from "../support/roles.ts";
import { grant } from "../support/books.ts";
import { applyMutant } from "../support/mutants.ts";

let db: Database;
let alice: string;
let bob: string;
let admin: string;
beforeAll(async () => {
  db = await createDatabase();
  alice = await createUser(db);
  bob = await createUser(db);
  admin = await createUser(db, { admin: true });
  await grant(db, alice, 1_000);
  await grant(db, bob, 1_000);
});
afterAll(() => db.drop());

/** Every function a client can name, with arguments that concern Bob. */
const ABOUT_BOB: [name: string, args: () => Record<string, unknown>][] = [
  ["get_user_token_balance", () => ({ p_user_id: bob })],
  ["get_token_history", () => ({ p_user_id: bob })],
  ["get_token_balance_as_of", () => ({ p_user_id: bob, p_at: new Date().toISOString() })],
  ["get_user_storage_quota", () => ({ p_user_id: bob })],
  ["deduct_tokens_with_fifo", () => ({ p_user_id: bob, p_tokens_to_deduct: 1 })],
  ["track_token_usage", () => ({ p_user_id: bob, p_action_type: "chat_conversation", p_tokens_used: 1 })],
  ["estimate_tokens", () => ({ p_user_id: bob, p_action_type: "chat_conversation", p_tokens_used: 1 })],
  ["explain_token_charge", () => ({ p_user_id: bob, p_transaction_id: 1 })],
  ["get_spend_caps", () => ({ p_user_id: bob })],
  ["list_team_members", () => ({ p_user_id: bob })],
  ["grant_tokens", () => ({ p_user_id: bob, p_tokens: 1 })],
  ["adjust_tokens", () => ({ p_user_id: bob, p_delta: 1 })],
  ["create_payment", () => ({ p_user_id: bob, p_to_plan: "starter" })],
  ["restate_token_balances", () => ({ p_user_id: bob, p_reason: "x" })],
  ["upgrade_plan", () => ({ p_user_id: bob, p_plan_type: "starter" })],
  ["reconcile_user_token_balance", () => ({ p_user_id: bob })],
  ["set_auto_top_up", () => ({ p_user_id: bob, p_below_tokens: 1, p_tokens: 1 })],
];
const REFUSED = { code: "42501" };

test.each(ABOUT_BOB)("anonymous callers may not execute %s", async (name, args) => {
  await expect(asAnon(db, (client) => rpc(client, name, args()))).rejects.toMatchObject(REFUSED);
});

test.each(ABOUT_BOB)("a user may not call %s for another user", async (name, args) => {
  await expect(asUser(db, alice, (client) => rpc(client, name, args()))).rejects.toMatchObject({
    ...REFUSED,
    message: "forbidden",
  });
});

test.each(ABOUT_BOB)("%s tells a user the same of a stranger and of nobody", async (name, args) => {
  const refusals = await Promise.all(
    [bob, "00000000-0000-4000-8000-00000000dead"].map((id) =>
      asUser(db, alice, (client) => rpc(client, name, { ...args(), p_user_id: id })).catch(
        (error: { code: string; message: string; detail?: string; hint?: string }) => [
          error.code,
          error.message,
          error.detail,
          error.hint,
        ],
      ),
    ),
  );
  expect(refusals[0]).toEqual(refusals[1]);
});

test.each(ABOUT_BOB)("a token without a subject may not call %s", async (name, args) => {
  const call = (client: ClientBase) => rpc(client, name, args());
  await expect(asUser(db, { role: "authenticated" }, call)).rejects.toMatchObject(REFUSED);
  // a subject that is no uuid does not even get as far: auth.uid() cannot read it
  await expect(asUser(db, { role: "authenticated", sub: "" }, call)).rejects.toMatchObject({ code: "22P02" });
});

test.each(ABOUT_BOB)(
  "NULL instead of a user is refused by %s, for a user and for the server",
  async (name, args) => {
    const call = { ...args(), p_user_id: null };
    await expect(asUser(db, alice, (client) => rpc(client, name, call))).rejects.toMatchObject(REFUSED);
    await expect(asService(db, (client) => rpc(client, name, call))).rejects.toMatchObject({
      code: "PT400",
      message: "invalid_user_id",
    });
  },
);

test.each([
  ["grant_tokens", () => ({ p_user_id: alice, p_tokens: 1 })],
  ["adjust_tokens", () => ({ p_user_id: alice, p_delta: 1 })],
  ["restate_token_balances", () => ({ p_user_id: alice, p_reason: "x" })],
  ["reverse_restatement", () => ({ p_user_id: alice, p_transaction_id: 1, p_reason: "x" })],
  ["replay_token_balances", () => ({ p_user_id: alice })],
  ["upgrade_plan", () => ({ p_user_id: alice, p_plan_type: "annual" })],
  ["renew_subscription", () => ({ p_user_id: alice })],
  ["reconcile_user_token_balance", () => ({ p_user_id: alice })],
  ["find_token_discrepancies", () => ({})],
  ["approve_payment", () => ({ p_user_id: alice, p_payment_id: alice })],
  ["reject_payment", () => ({ p_user_id: alice, p_payment_id: alice, p_reason: "x" })],
  ["refund_payment", () => ({ p_user_id: alice, p_payment_id: alice, p_reason: "x" })],
  ["assign_parked_payment", () => ({ p_provider: "stripe", p_provider_payment_id: "x", p_user_id: alice })],
  [
    "record_provider_event",
    () => ({
      p_provider: "stripe",
      p_event_id: "e",
      p_event_type: "t",
      p_provider_payment_id: "p",
      p_facts: { kind: "paid" },
    }),
  ],
  ["set_spend_cap", () => ({ p_user_id: alice, p_window: "day", p_tokens: 1 })],
  ["add_team_member", () => ({ p_user_id: alice, p_member_id: bob })],
  ["remove_team_member", () => ({ p_user_id: alice, p_member_id: bob })],
  ["deduct_tokens_batch", () => ({ p_items: [{ user_id: alice, tokens: 1 }] })],
  ["expire_old_token_grants", () => ({})],
  ["set_token_alert_rule", () => ({ p_rule: "low", p_kind: "depleted", p_user_id: alice })],
  ["remove_token_alert_rule", () => ({ p_rule: "low", p_user_id: alice })],
  ["retry_token_alerts", () => ({ p_user_id: alice })],
  ["arm_token_alerts", () => ({})],
  ["claim_token_alerts", () => ({})],
  ["settle_token_alert", () => ({ p_user_id: alice, p_alert_id: 1, p_claim_id: alice })],
  ["settle_top_up", () => ({ p_user_id: alice, p_request_id: alice, p_outcome: "done" })],
] as [string, () => Record<string, unknown>][])("a user may not call %s for himself", async (name, args) => {
  await expect(asUser(db, alice, (client) => rpc(client, name, args()))).rejects.toMatchObject(REFUSED);
});

test.each(ABOUT_BOB)("an admin and the server may call %s for anyone", async (name, args) => {
  const call = (client: ClientBase) => rpc(client, name, args());
  expect(await asService(db, call)).toBeTypeOf("object");
  expect(await asAdmin(db, admin, call)).toBeTypeOf("object");
});

test("an admin whose right was taken away is refused at once, his token notwithstanding", async () => {
  const former = await createUser(db, { admin: true });
  await asAdmin(db, former, (client) => rpc(client, "adjust_tokens", { p_user_id: bob, p_delta: 1 }));

  await db.admin.query("delete from private.admins where user_id = $1", [former]);

  await expect(
    asAdmin(db, former, (client) => rpc(client, "adjust_tokens", { p_user_id: bob, p_delta: 1 })),
  ).rejects.toMatchObject(REFUSED);
});

test("a row in admins alone makes no admin, nor does what users can write themselves", async () => {
  for (const claims of [
    { sub: admin, role: "authenticated" },
    { sub: admin, role: "authenticated", user_metadata: { role: "admin" } },
    { sub: alice, role: "authenticated", app_metadata: { role: "admin" } },
    { sub: alice, role: "authenticated", user_metadata: { role: "admin" } },
  ]) {
    await expect(
      asUser(db, claims, (client) => rpc(client, "adjust_tokens", { p_user_id: bob, p_delta: 1 })),
    ).rejects.toMatchObject(REFUSED);
  }
});

test("an unknown user is said to be unknown to admins and the server only", async () => {
  const nobody = "00000000-0000-4000-8000-00000000dead";
  for (const [name, args] of ABOUT_BOB.filter(([called]) => called !== "get_user_storage_quota")) {
    const call = { ...args(), p_user_id: nobody };
    await expect(asAdmin(db, admin, (client) => rpc(client, name, call))).rejects.toMatchObject({
      code: "PT404",
      message: "user_not_found",
    });
    await expect(asService(db, (client) => rpc(client, name, call))).rejects.toMatchObject({
      code: "PT404",
      message: "user_not_found",
    });
  }
});

test("a database role that nobody knows is refused", async () => {
  const client = await db.admin.connect();
  try {
    await client.query("begin");
    await client.query("create role stranger nologin");
    await client.query("grant stranger to postgres with set true");
    await client.query("grant usage on schema private to stranger");
    await client.query(
      "grant execute on function public.deduct_tokens_with_fifo, private.deduct_tokens_with_fifo to stranger",
    );
    await client.query("set local role stranger");
    await expect(client.query("select public.deduct_tokens_with_fifo($1, 1)", [bob])).rejects.toMatchObject(
      REFUSED,
    );
  } finally {
    await client.query("rollback");
    client.release();
  }
});

test("no client role and not even the server writes a table", async () => {
  const tables = [
    "token_accounts",
    "token_balances",
    "token_transactions",
    "legacy_token_transactions",
    "token_usage",
    "token_spend_caps",
    "team_members",
    "user_storage",
    "user_subscriptions",
    "payments",
    "token_alerts",
    "token_alert_rules",
    "token_top_ups",
    "token_top_up_requests",
  ];
  let refused = 0;
  for (const table of tables) {
    for (const statement of [
      `insert into public.${table} (user_id) values ('${alice}')`,
      `update public.${table} set user_id = user_id where user_id = '${alice}'`,
      `delete from public.${table} where user_id = '${alice}'`,
      `truncate public.${table}`,
    ]) {
      const attempts = [
        () => asAnon(db, (client) => client.query(statement)),
        () => asUser(db, alice, (client) => client.query(statement)),
        () => asAdmin(db, admin, (client) => client.query(statement)),
        () => asService(db, (client) => client.query(statement)),
      ];
      for (const attempt of attempts) {
        await expect(attempt(), statement).rejects.toMatchObject(REFUSED);
        refused++;
      }
    }
  }
  console.log(`table writes refused=${refused} of ${tables.length * 16}`);
});

test("even the owner of the ledger cannot change it by accident", async () => {
  for (const statement of [
    "update public.token_transactions set tokens = 1 where user_id = $1",
    "delete from public.token_transactions where user_id = $1",
  ]) {
    await expect(db.admin.query(statement, [alice])).rejects.toMatchObject({
      code: "42501",
      message: "ledger_is_append_only",
    });
  }
  await expect(db.admin.query("truncate public.token_transactions")).rejects.toMatchObject({
    message: "ledger_is_append_only",
  });
});

test("users read their own rows and nobody else's, anonymous callers nothing", async () => {
  for (const relation of ["token_accounts", "token_balances", "token_transactions", "user_token_counters"]) {
    const seen = await asUser(db, alice, (client) =>
      client.query(`select distinct user_id from public.${relation}`),
    );
    expect(seen.rows, relation).toEqual([{ user_id: alice }]);
    await expect(
      asAnon(db, (client) => client.query(`select from public.${relation}`)),
    ).rejects.toMatchObject(REFUSED);
  }
});

test("money outlives the user", async () => {
  const gone = await createUser(db);
  await grant(db, gone, 10);

  await db.admin.query("delete from auth.users where id = $1", [gone]);

  const { rows } = await db.admin.query(
    `select (select count(*)::int from public.token_accounts where user_id = $1) accounts,
            (select count(*)::int from public.token_balances where user_id = $1) grants,
            (select count(*)::int from public.token_transactions where user_id = $1) transactions`,
    [gone],
  );
  expect(rows).toEqual([{ accounts: 1, grants: 1, transactions: 1 }]);
  const balance = await asAdmin(db, admin, (client) =>
    rpc(client, "get_user_token_balance", { p_user_id: gone }),
  );
  expect(balance.total_active).toBe(10);
});

test("the tests see it: a caller compared with <> lets a token without a subject through", async () => {
  const broken = await createDatabase();
  await applyMutant(broken, "caller-compared-with-not-equal");
  const victim = await createUser(broken);

  const receipt = await asUser(broken, { role: "authenticated" }, (client) =>
    rpc(client, "grant_tokens", { p_user_id: victim, p_tokens: 1_000_000 }),
  );
  await broken.drop();

  expect(receipt.success).toBe(true);
});
