// Any argument of any function is promise P14; here is which answer it must be.
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { digestQuery } from "../support/digest.ts";
import { asService, createUser, rpc } from "../support/roles.ts";
import { grant } from "../support/books.ts";

let db: Database;
let user: string;
let digestOfAll: string;
beforeAll(async () => {
  db = await createDatabase();
  digestOfAll = await digestQuery(db.admin);
  user = await createUser(db);
  await grant(db, user, 1_000);
});
afterAll(() => db.drop());

const LONG = "k".repeat(1_000_000);
const cases: [function_: string, argument: string, value: unknown, answer: string][] = [
  ["deduct_tokens_with_fifo", "p_tokens_to_deduct", 0, "PT400 invalid_amount"],
  ["deduct_tokens_with_fifo", "p_tokens_to_deduct", -50, "PT400 invalid_amount"],
  ["deduct_tokens_with_fifo", "p_tokens_to_deduct", null, "PT400 invalid_amount"],
  ["deduct_tokens_with_fifo", "p_tokens_to_deduct", 1_000_000_000_001, "PT400 invalid_amount"],
  ["deduct_tokens_with_fifo", "p_tokens_to_deduct", 2 ** 53, "PT400 invalid_amount"],
  ["deduct_tokens_with_fifo", "p_tokens_to_deduct", "9223372036854775807", "PT400 invalid_amount"],
  ["deduct_tokens_with_fifo", "p_tokens_to_deduct", "9223372036854775808", "22003"],
  ["deduct_tokens_with_fifo", "p_tokens_to_deduct", "NaN", "22P02"],
  ["deduct_tokens_with_fifo", "p_tokens_to_deduct", "Infinity", "22P02"],
  ["deduct_tokens_with_fifo", "p_tokens_to_deduct", 1.5, "22P02"],
  ["deduct_tokens_with_fifo", "p_tokens_to_deduct", "1e3", "22P02"],
  ["deduct_tokens_with_fifo", "p_tokens_to_deduct", true, "22P02"],
  ["deduct_tokens_with_fifo", "p_tokens_to_deduct", "'; drop table token_accounts; --", "22P02"],
  ["deduct_tokens_with_fifo", "p_user_id", null, "PT400 invalid_user_id"],
  ["deduct_tokens_with_fifo", "p_user_id", "not-a-uuid", "22P02"],
  ["deduct_tokens_with_fifo", "p_action_type", null, "PT400 invalid_action_type"],
  ["deduct_tokens_with_fifo", "p_action_type", "", "PT400 invalid_action_type"],
  ["deduct_tokens_with_fifo", "p_action_type", "Chat", "PT400 invalid_action_type"],
  ["deduct_tokens_with_fifo", "p_action_type", "subscription_grant", "PT400 invalid_action_type"],
  ["deduct_tokens_with_fifo", "p_action_type", LONG, "PT400 invalid_action_type"],
  ["deduct_tokens_with_fifo", "p_idempotency_key", "", "PT400 invalid_idempotency_key"],
  ["deduct_tokens_with_fifo", "p_idempotency_key", "two words", "PT400 invalid_idempotency_key"],
  ["deduct_tokens_with_fifo", "p_idempotency_key", "line\nbreak", "PT400 invalid_idempotency_key"],
  ["deduct_tokens_with_fifo", "p_idempotency_key", "k".repeat(256), "PT400 invalid_idempotency_key"],
  ["deduct_tokens_with_fifo", "p_idempotency_key", LONG, "PT400 invalid_idempotency_key"],
  ["deduct_tokens_with_fifo", "p_idempotency_key", "nul\u0000", "22P05"],
  ["deduct_tokens_with_fifo", "p_metadata", [], "PT400 invalid_metadata"],
  ["deduct_tokens_with_fifo", "p_metadata", "text", "PT400 invalid_metadata"],
  ["deduct_tokens_with_fifo", "p_metadata", { a: "x".repeat(9_000) }, "PT400 invalid_metadata"],
  ["grant_tokens", "p_tokens", 0, "PT400 invalid_amount"],
  ["grant_tokens", "p_tokens", -1, "PT400 invalid_amount"],
  ["grant_tokens", "p_tokens", null, "PT400 invalid_amount"],
  ["grant_tokens", "p_tokens", "NaN", "22P02"],
  ["grant_tokens", "p_grant_type", "gift", "PT400 invalid_grant_type"],
  ["grant_tokens", "p_grant_type", null, "PT400 invalid_grant_type"],
  ["grant_tokens", "p_expires_at", "2020-01-01T00:00:00Z", "PT400 invalid_expiry"],
  ["grant_tokens", "p_expires_at", "-infinity", "PT400 invalid_expiry"],
  ["grant_tokens", "p_expires_at", "soon", "22007"],
  ["grant_tokens", "p_expires_at", "2026-13-41", "22008"],
  ["grant_tokens", "p_priority", -1, "PT400 invalid_priority"],
  ["grant_tokens", "p_priority", 101, "PT400 invalid_priority"],
  ["grant_tokens", "p_priority", 2 ** 31, "22003"],
  ["grant_tokens", "p_granted_at", "2999-01-01T00:00:00Z", "PT400 invalid_granted_at"],
  ["grant_tokens", "p_granted_at", "infinity", "PT400 invalid_granted_at"],
  ["grant_tokens", "p_granted_at", "-infinity", "PT400 invalid_granted_at"],
  ["grant_tokens", "p_starts_at", "2020-01-01T00:00:00Z", "PT400 invalid_starts_at"],
  ["grant_tokens", "p_starts_at", "2999-01-01T00:00:00Z", "PT400 invalid_starts_at"],
  ["grant_tokens", "p_starts_at", "infinity", "PT400 invalid_starts_at"],
  ["grant_tokens", "p_starts_at", "-infinity", "PT400 invalid_starts_at"],
  ["grant_tokens", "p_starts_at", "soon", "22007"],
  ["grant_tokens", "p_reason", "", "PT400 invalid_reason"],
  ["grant_tokens", "p_reason", " \n", "PT400 invalid_reason"],
  ["grant_tokens", "p_reason", "r".repeat(501), "PT400 invalid_reason"],
  ["adjust_tokens", "p_delta", 0, "PT400 invalid_amount"],
  ["adjust_tokens", "p_delta", null, "PT400 invalid_amount"],
  ["adjust_tokens", "p_delta", -1_000_000_000_001, "PT400 invalid_amount"],
  ["adjust_tokens", "p_delta", "-9223372036854775808", "PT400 invalid_amount"],
  ["adjust_tokens", "p_metadata", 7, "PT400 invalid_metadata"],
  ["get_token_history", "p_limit", 0, "PT400 invalid_page"],
  ["get_token_history", "p_limit", 201, "PT400 invalid_page"],
  ["get_token_history", "p_limit", null, "PT400 invalid_page"],
  ["expire_old_token_grants", "p_max_accounts", 0, "PT400 invalid_page"],
  ["arm_token_alerts", "p_max_accounts", 10_001, "PT400 invalid_page"],
  ["set_token_top_up", "p_below_tokens", -1, "PT400 invalid_top_up"],
  ["set_token_top_up", "p_tokens", null, "PT400 invalid_top_up"],
  ["get_token_balance_as_of", "p_at", null, "PT400 invalid_moment"],
  ["get_token_balance_as_of", "p_at", "2999-01-01T00:00:00Z", "PT400 invalid_moment"],
  ["get_token_balance_as_of", "p_at", "infinity", "PT400 invalid_moment"],
  ["get_token_balance_as_of", "p_at", "soon", "22007"],
  ["restate_token_balances", "p_reason", null, "PT400 invalid_reason"],
  ["restate_token_balances", "p_reason", " \n", "PT400 invalid_reason"],
  ["restate_token_balances", "p_idempotency_key", "two words", "PT400 invalid_idempotency_key"],
  ["replay_token_balances", "p_user_id", "not-a-uuid", "22P02"],
  ["reconcile_user_token_balance", "p_user_id", null, "PT400 invalid_user_id"],
  ["reconcile_user_token_balance", "p_user_id", "not-a-uuid", "22P02"],
];
const GOOD: Record<string, () => Record<string, unknown>> = {
  deduct_tokens_with_fifo: () => ({ p_user_id: user, p_tokens_to_deduct: 1 }),
  grant_tokens: () => ({ p_user_id: user, p_tokens: 1, p_grant_type: "purchase" }),
  adjust_tokens: () => ({ p_user_id: user, p_delta: 1 }),
  get_token_history: () => ({ p_user_id: user }),
  expire_old_token_grants: () => ({}),
  arm_token_alerts: () => ({}),
  set_token_top_up: () => ({ p_user_id: user, p_below_tokens: 1, p_tokens: 1 }),
  get_token_balance_as_of: () => ({ p_user_id: user, p_at: new Date().toISOString() }),
  restate_token_balances: () => ({ p_user_id: user, p_reason: "x" }),
  replay_token_balances: () => ({ p_user_id: user }),
  reconcile_user_token_balance: () => ({ p_user_id: user }),
};

const digest = async () => (await db.admin.query(digestOfAll)).rows[0].digest as string;

const shown = (value: unknown) => {
  const text = JSON.stringify(value);
  return text.length > 32 ? `${text.slice(0, 24)}… (${text.length} characters)` : text;
};

test.each(
  cases.map(([name, argument, value, answer]) => ({ name, argument, value, answer, shown: shown(value) })),
)(
  "$name refuses $argument = $shown with $answer and changes nothing",
  async ({ name, argument, value, answer }) => {
    const before = await digest();

    const error = await asService(db, (client) =>
      rpc(client, name, { ...GOOD[name]!(), [argument]: value }),
    ).then(
      () => ({ code: "accepted", message: "" }),
      (refusal: { code: string; message: string; detail?: string; hint?: string }) => refusal,
    );

    const [code, slug] = answer.split(" ");
    expect(error.code).toBe(code);
    if (slug) {
      expect(error.message).toBe(slug);
      expect(JSON.parse((error as { detail: string }).detail)).toMatchObject({
        field: argument,
        rule: expect.any(String),
      });
      expect((error as { detail: string }).detail.length).toBeLessThan(200); // never the input back
    }
    expect(await digest()).toBe(before);
  },
);

test("the functions accept the same calls without the bad argument", async () => {
  for (const [name, args] of Object.entries(GOOD)) {
    await expect(
      asService(db, (client) => rpc(client, name, args())),
      name,
    ).resolves.toBeDefined();
  }
});

test("a user's total never passes 2^53 - 1, so that JSON stays exact", async () => {
  const rich = await createUser(db);
  await db.admin.query(
    `insert into public.token_accounts (user_id, tokens_used) values ($1, 9007199254740991 - 1000000000000)`,
    [rich],
  );

  await grant(db, rich, 999_999_999_999);
  await grant(db, rich, 1);
  await expect(grant(db, rich, 1)).rejects.toMatchObject({
    code: "PT409",
    message: "balance_limit_exceeded",
    detail: '{"limit": 9007199254740991}',
  });

  const balance = await asService(db, (client) => rpc(client, "get_user_token_balance", { p_user_id: rich }));
  expect(balance.total_active).toBe(1_000_000_000_000);
});

test("what is good and what is bad is the same where a backslash in a string means something", async () => {
  const tryHere = (name: string, args: Record<string, unknown>) =>
    asService(db, async (client) => {
      await client.query("set local standard_conforming_strings = off");
      return rpc(client, name, args);
    });
  await tryHere("adjust_tokens", { p_user_id: user, p_delta: 1, p_reason: "a correction" });
  await tryHere("track_token_usage", {
    p_user_id: user,
    p_action_type: "chat",
    p_tokens_used: 1,
    p_model_used: "a-model",
  });
  for (const p_reason of [" ", "\t\n"])
    await expect(tryHere("adjust_tokens", { p_user_id: user, p_delta: 1, p_reason })).rejects.toMatchObject({
      message: "invalid_reason",
    });
  const { rows } = await db.admin.query("select tokenbook.say_one_of(list) from unnest($1::jsonb[]) list", [
    ["{}", '{"a": 1}', '{"b": 1, "a": 1}', '{"c": 1, "b": 1, "a": 1}'],
  ]);
  expect(rows.map((row) => row.say_one_of)).toEqual(["", "a", "a or b", "a, b or c"]);
  // the functions of ours are read anew under the setting of each session
  const { rows: withBackslash } = await db.admin.query(
    `select oid::regprocedure::text as name from pg_proc
      where pronamespace in ('tokenbook'::regnamespace, 'public'::regnamespace) and strpos(prosrc, chr(92)) > 0`,
  );
  expect(withBackslash).toEqual([]);
});
