import { afterAll, beforeAll, expect, test } from "vitest";
import { expectCleanBooks, grant } from "../support/books.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { asAdmin, asService, asUser, createUser, rpc } from "../support/roles.ts";
import { letTimePass } from "../support/time.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
  await call("set_token_limit", { p_name: "open_holds", p_value: 3 });
  await call("set_token_limit", { p_name: "pending_payments", p_value: 2 });
});
afterAll(async () => {
  await expectCleanBooks(db);
  await db.drop();
});

const call = (name: string, args: Record<string, unknown>, of = db) =>
  asService(of, (client) => rpc(client, name, args));
const hold = (user: string, tokens = 1) =>
  asUser(db, user, (client) =>
    rpc(client, "reserve_tokens", { p_user_id: user, p_tokens: tokens, p_ttl_seconds: 60 }),
  );
const ask = (user: string, of = db) =>
  asUser(of, user, (client) => rpc(client, "create_token_payment", { p_user_id: user, p_to_plan: "annual" }));

test("a user has no more holds open than the limit; one released, captured or run out makes room", async () => {
  const user = await createUser(db);
  await grant(db, user, 100);
  const holds = [await hold(user), await hold(user), await hold(user)];
  const refused = { code: "PT429", message: "too_many_holds", detail: '{"limit": 3}' };
  await expect(hold(user)).rejects.toMatchObject(refused);
  await call("release_tokens", { p_user_id: user, p_hold_id: holds[0].hold_id });
  holds.push(await hold(user));
  await call("capture_tokens", { p_user_id: user, p_hold_id: holds[1].hold_id });
  holds.push(await hold(user));
  await expect(hold(user)).rejects.toMatchObject(refused);
  await letTimePass(db, user, 1 / 24);
  expect((await hold(user)).success).toBe(true);
});

test("a replay of a hold is answered, however many are open", async () => {
  const user = await createUser(db);
  await grant(db, user, 100);
  const keyed = () => call("reserve_tokens", { p_user_id: user, p_tokens: 1, p_idempotency_key: "a-hold" });
  const first = await keyed();
  await hold(user);
  await hold(user);
  expect(await keyed()).toMatchObject({ hold_id: first.hold_id, replayed: true });
});

test("in a team each has as many holds as a user may: none takes the others' place", async () => {
  const [payer, ann, ben] = [await createUser(db), await createUser(db), await createUser(db)];
  await grant(db, payer, 100);
  for (const member of [ann, ben]) {
    await call("add_token_team_member", { p_user_id: payer, p_member_id: member });
  }
  for (const spender of [ann, payer, ben]) {
    for (let i = 0; i < 3; i++) expect((await hold(spender)).success).toBe(true);
    await expect(hold(spender)).rejects.toMatchObject({ message: "too_many_holds" });
  }
});

test("a user has no more payments waiting than the limit; one decided makes room", async () => {
  const user = await createUser(db);
  const { payment_id } = await ask(user);
  await ask(user);
  await expect(ask(user)).rejects.toMatchObject({
    code: "PT429",
    message: "too_many_payments",
    detail: '{"limit": 2}',
  });
  await call("reject_token_payment", { p_user_id: user, p_payment_id: payment_id, p_reason: "not now" });
  expect((await ask(user)).success).toBe(true);
});

test("60 payments asked for at once by one user are as many as the limit", async () => {
  const user = await createUser(db);
  const asked = await Promise.allSettled(Array.from({ length: 60 }, () => ask(user)));
  expect(asked.filter(({ status }) => status === "fulfilled")).toHaveLength(2);
});

test("the server alone chooses a limit, within bounds, and none is the default", async () => {
  const args = { p_name: "open_holds", p_value: 5 };
  const admin = await createUser(db, { admin: true });
  await expect(asAdmin(db, admin, (client) => rpc(client, "set_token_limit", args))).rejects.toMatchObject({
    code: "42501",
  });
  for (const wrong of [
    { p_name: "holds", p_value: 1 },
    { p_name: null, p_value: 1 },
    { p_name: "open_holds", p_value: 0 },
    { p_name: "open_holds", p_value: 10_001 },
  ]) {
    await expect(call("set_token_limit", wrong)).rejects.toMatchObject({ message: "invalid_limit" });
  }
  expect(await call("set_token_limit", { p_name: "pending_payments", p_value: null })).toEqual({
    success: true,
    name: "pending_payments",
    value: 20,
  });
  await call("set_token_limit", { p_name: "pending_payments", p_value: 2 });
});

test("the test sees it: no bound", async () => {
  const bad = await createDatabase();
  await applyMutant(bad, "holds-without-a-bound");
  await applyMutant(bad, "payments-without-a-bound");
  for (const name of ["open_holds", "pending_payments"])
    await call("set_token_limit", { p_name: name, p_value: 1 }, bad);
  const user = await createUser(bad);
  await grant(bad, user, 10);
  for (let i = 0; i < 3; i++) {
    expect((await call("reserve_tokens", { p_user_id: user, p_tokens: 1 }, bad)).success).toBe(true);
    expect((await ask(user, bad)).success).toBe(true);
  }
  await bad.drop();
});
