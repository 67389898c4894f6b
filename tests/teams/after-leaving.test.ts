import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { expectCleanBooks, grant } from "../support/books.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { asService, asUser, createUser, rpc } from "../support/roles.ts";

let db: Database;
let payer: string;
let member: string;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());
beforeEach(async () => {
  [payer, member] = await makeTeam(db);
});

async function makeTeam(of: Database): Promise<[string, string]> {
  const [pays, draws] = [await createUser(of), await createUser(of)];
  await grant(of, pays, 1_000_000);
  await call("add_token_team_member", { p_user_id: pays, p_member_id: draws }, of);
  return [pays, draws];
}

const call = (name: string, args: Record<string, unknown>, of = db) =>
  asService(of, (client) => rpc(client, name, args));
const asMember = (name: string, args: Record<string, unknown>, who = member, of = db) =>
  asUser(of, who, (client) => rpc(client, name, { p_user_id: who, ...args }));
const leave = () => call("remove_token_team_member", { p_user_id: payer, p_member_id: member });
const left = async (of = db, whose = payer) =>
  (
    await of.admin.query("select tokens_remaining::int as n from public.token_accounts where user_id = $1", [
      whose,
    ])
  ).rows[0].n as number;

test("a member who has left captures what was held, and nothing beyond it", async () => {
  const { hold_id } = await asMember("reserve_tokens", { p_tokens: 1 });
  await leave();
  const drain = { p_hold_id: hold_id, p_tokens: 900_000, p_over_capture: "deduct" };
  expect(await asMember("capture_tokens", drain)).toMatchObject({
    success: false,
    status: "open",
    tokens_remaining_to_deduct: 899_999,
  });
  expect(await left()).toBe(999_999);
  // nor does the server for them, or an admin
  expect(await call("capture_tokens", { ...drain, p_user_id: member })).toMatchObject({ success: false });
  expect(await asMember("capture_tokens", { p_hold_id: hold_id })).toMatchObject({
    success: true,
    tokens_captured: 1,
  });
  expect(await left()).toBe(999_999);
  await expectCleanBooks(db);
});

test("one who left and came back is a member again", async () => {
  const { hold_id } = await asMember("reserve_tokens", { p_tokens: 1 });
  await leave();
  await call("add_token_team_member", { p_user_id: payer, p_member_id: member });
  expect(await asMember("capture_tokens", { p_hold_id: hold_id, p_tokens: 10 })).toMatchObject({
    success: true,
    tokens_deducted: 10,
  });
});

test("a cap that was set after the hold holds for what goes beyond it", async () => {
  const { hold_id } = await asMember("reserve_tokens", { p_tokens: 10 });
  await call("add_token_team_member", { p_user_id: payer, p_member_id: member, p_cap_day: 15 });
  expect(await asMember("capture_tokens", { p_hold_id: hold_id, p_tokens: 16 })).toMatchObject({
    success: false,
    tokens_remaining_to_deduct: 1,
    capped_by: { scope: "member", window: "day", limit: 15 },
  });
  expect(await asMember("capture_tokens", { p_hold_id: hold_id, p_tokens: 15 })).toMatchObject({
    success: true,
  });
});

test("one who joined a team since takes nothing from their own account beyond a hold of their own", async () => {
  const alone = await createUser(db);
  await grant(db, alone, 100);
  const { hold_id } = await asMember("reserve_tokens", { p_tokens: 1 }, alone);
  await call("add_token_team_member", { p_user_id: payer, p_member_id: alone, p_cap_day: 0 });
  expect(await asMember("capture_tokens", { p_hold_id: hold_id, p_tokens: 50 }, alone)).toMatchObject({
    success: false,
    tokens_remaining_to_deduct: 49,
  });
  expect(await asMember("capture_tokens", { p_hold_id: hold_id }, alone)).toMatchObject({ success: true });
});

test("a cap that a call leaves out stays, also of one who comes back", async () => {
  const caps = async () => (await call("list_token_team_members", { p_user_id: payer })).members[0].caps;
  await call("add_token_team_member", { p_user_id: payer, p_member_id: member, p_cap_day: 10 });
  await call("add_token_team_member", { p_user_id: payer, p_member_id: member, p_cap_month: 500 });
  expect(await caps()).toMatchObject([
    { window: "day", limit: 10 },
    { window: "month", limit: 500 },
  ]);
  await leave();
  await call("add_token_team_member", { p_user_id: payer, p_member_id: member });
  expect(await caps()).toHaveLength(2);
});

test("the test sees it: a cap that is taken away by leaving it out", async () => {
  const bad = await createDatabase();
  await applyMutant(bad, "caps-are-lifted-by-leaving-them-out");
  const [pays, draws] = await makeTeam(bad);
  await call("add_token_team_member", { p_user_id: pays, p_member_id: draws, p_cap_day: 10 }, bad);
  await call("add_token_team_member", { p_user_id: pays, p_member_id: draws, p_cap_month: 500 }, bad);
  expect((await call("list_token_team_members", { p_user_id: pays }, bad)).members[0].caps).toHaveLength(1);
  await bad.drop();
});

test("nothing is held from the account of a payer who was deleted", async () => {
  await db.admin.query("delete from auth.users where id = $1", [payer]);
  await expect(asMember("reserve_tokens", { p_tokens: 1 })).rejects.toMatchObject({
    message: "user_not_found",
  });
});

test("the test sees it: a capture that looks at the team as of the hold", async () => {
  const bad = await createDatabase();
  await applyMutant(bad, "captures-as-of-the-hold");
  const [pays, draws] = await makeTeam(bad);
  const { hold_id } = await asMember("reserve_tokens", { p_tokens: 1 }, draws, bad);
  await call("remove_token_team_member", { p_user_id: pays, p_member_id: draws }, bad);
  await asMember("capture_tokens", { p_hold_id: hold_id, p_tokens: 900_000 }, draws, bad);
  expect(await left(bad, pays)).toBe(100_000);
  await bad.drop();
});
