import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { asAdmin, asService, asUser, createUser, rpc } from "../support/roles.ts";
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

/**
 * Functions that a user may call about themself or an admin about anyone, with arguments that concern Bob.
 * Who may call what at all is P11 of tests/proofs/promises.
 */
const ABOUT_BOB: [name: string, args: () => Record<string, unknown>][] = [
  ["get_user_token_balance", () => ({ p_user_id: bob })],
  ["get_token_history", () => ({ p_user_id: bob })],
  ["get_token_balance_as_of", () => ({ p_user_id: bob, p_at: new Date().toISOString() })],
  ["get_user_storage_quota", () => ({ p_user_id: bob })],
  ["deduct_tokens_with_fifo", () => ({ p_user_id: bob, p_tokens_to_deduct: 1 })],
  ["track_token_usage", () => ({ p_user_id: bob, p_action_type: "chat_conversation", p_tokens_used: 1 })],
  ["estimate_tokens", () => ({ p_user_id: bob, p_action_type: "chat_conversation", p_tokens_used: 1 })],
  ["get_token_usage_by", () => ({ p_user_id: bob })],
  ["explain_token_charge", () => ({ p_user_id: bob, p_transaction_id: 1 })],
  ["get_token_spend_caps", () => ({ p_user_id: bob })],
  ["list_token_team_members", () => ({ p_user_id: bob })],
  ["list_upcoming_token_grants", () => ({ p_user_id: bob })],
  ["grant_tokens", () => ({ p_user_id: bob, p_tokens: 1 })],
  ["adjust_tokens", () => ({ p_user_id: bob, p_delta: 1 })],
  ["create_token_payment", () => ({ p_user_id: bob, p_to_plan: "starter" })],
  ["restate_token_balances", () => ({ p_user_id: bob, p_reason: "x" })],
  ["change_token_plan", () => ({ p_user_id: bob, p_plan_type: "starter" })],
  ["reconcile_user_token_balance", () => ({ p_user_id: bob })],
  ["set_token_top_up", () => ({ p_user_id: bob, p_below_tokens: 1, p_tokens: 1 })],
];
const REFUSED = { code: "42501" };

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

test("a token whose subject is empty is nobody's", async () => {
  for (const [name, args] of ABOUT_BOB) {
    const call = asUser(db, { role: "authenticated", sub: "" }, (client) => rpc(client, name, args()));
    await expect(call, name).rejects.toMatchObject({ code: "42501", message: "not_authenticated" });
  }
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

test("an admin whose right was taken away is refused at once, although the token still says admin", async () => {
  const former = await createUser(db, { admin: true });
  await asAdmin(db, former, (client) => rpc(client, "adjust_tokens", { p_user_id: bob, p_delta: 1 }));

  await db.admin.query("delete from tokenbook.admins where user_id = $1", [former]);

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
  // roles are the whole server's
  const stranger = `stranger_to_${db.name}`;
  const client = await db.admin.connect();
  try {
    await client.query("begin");
    await client.query(`create role ${stranger} nologin`);
    await client.query(`grant ${stranger} to postgres with set true`);
    await client.query(`grant usage on schema tokenbook to ${stranger}`);
    await client.query(
      `grant execute on function public.deduct_tokens_with_fifo, tokenbook.deduct_tokens_with_fifo to ${stranger}`,
    );
    await client.query(`set local role ${stranger}`);
    await expect(client.query("select public.deduct_tokens_with_fifo($1, 1)", [bob])).rejects.toMatchObject(
      REFUSED,
    );
  } finally {
    await client.query("rollback");
    client.release();
  }
});

/** Whether one user can have another's tokens deducted, and learn their balance, where both could take the fast path. */
async function reach(variant?: string): Promise<string[]> {
  const world = await createDatabase();
  try {
    if (variant !== undefined) await applyMutant(world, variant);
    const [self, other] = [await createUser(world), await createUser(world)];
    await grant(world, other, 1_000);
    const reached: string[] = [];
    for (const [name, args] of [
      ["deduct_tokens_with_fifo", { p_user_id: other, p_tokens_to_deduct: 1 }],
      ["get_user_token_balance", { p_user_id: other }],
    ] as const)
      await asUser(world, self, (client) => rpc(client, name, args)).then(
        () => reached.push(name),
        (error: { code: string }) => expect(error.code).toBe("42501"),
      );
    return reached;
  } finally {
    await world.drop();
  }
}

test("the fast paths ask who it is, as the full ones do", async () => {
  expect(await reach()).toEqual([]);
  expect(await reach("fast-path-deduction-asks-nobody")).toEqual(["deduct_tokens_with_fifo"]);
  expect(await reach("balance-asks-nobody")).toEqual(["get_user_token_balance"]);
});
