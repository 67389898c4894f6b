import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { expectCleanBooks, grant } from "../support/books.ts";
import { applyMutant } from "../support/mutants.ts";
import { asService, asUser, createUser, rpc } from "../support/roles.ts";
import { storm } from "../support/storm.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

const track = (user: string, args: Record<string, unknown>, database = db) =>
  asUser(database, user, (client) =>
    rpc(client, "track_token_usage", { p_action_type: "chat_conversation", ...args }),
  );
const usagesOf = async (user: string) =>
  (await db.admin.query("select * from public.token_usage where user_id = $1 order by created_at", [user]))
    .rows;
const accountOf = async (user: string) =>
  (await db.admin.query("select * from public.token_accounts where user_id = $1", [user])).rows[0];

async function userWith(tokens: number): Promise<string> {
  const user = await createUser(db);
  if (tokens > 0) await grant(db, user, tokens);
  return user;
}

test("one call records the operation and deducts input + output, in one transaction", async () => {
  const user = await userWith(10_000);

  const receipt = await track(user, {
    p_model_used: "gpt-4",
    p_input_tokens: 1_200,
    p_output_tokens: 345,
    p_metadata: { request_id: "r-1" },
  });

  expect(receipt).toMatchObject({
    success: true,
    tokens_used: 1_545,
    tokens_deducted: 1_545,
    tokens_remaining_to_deduct: 0,
    tokens_remaining: 8_455,
    deducted_from: [{ deducted: 1_545 }],
    replayed: false,
  });
  const [usage] = await usagesOf(user);
  expect(usage).toMatchObject({
    id: receipt.usage_id,
    action_type: "chat_conversation",
    model_used: "gpt-4",
    tokens_used: "1545",
    input_tokens: "1200",
    output_tokens: "345",
    success: true,
    tokens_uncovered: "0",
    transaction_id: String(receipt.transaction_id),
    metadata: { request_id: "r-1" },
  });
  expect(await accountOf(user)).toMatchObject({ tokens_remaining: "8455", tokens_used: "1545" });
  await expectCleanBooks(db);
});

test("cached and reasoning tokens are parts and do not count twice", async () => {
  const user = await userWith(10_000);

  const receipt = await track(user, {
    p_input_tokens: 1_000,
    p_cached_tokens: 800,
    p_output_tokens: 500,
    p_reasoning_tokens: 400,
  });

  expect(receipt.tokens_deducted).toBe(1_500);
});

test("a fixed number is deducted as it is, and the price of an action when none is given", async () => {
  const user = await userWith(100_000);
  const deducted = async (args: Record<string, unknown>) => (await track(user, args)).tokens_deducted;

  expect(await deducted({ p_tokens_used: 77 })).toBe(77);
  expect(await deducted({ p_action_type: "seo_title" })).toBe(300);
  expect(await deducted({ p_action_type: "seo_title", p_input_tokens: 9_000 })).toBe(300);
  expect(await deducted({ p_action_type: "rewrite", p_input_tokens: 10 })).toBe(500);
  expect(await deducted({ p_action_type: "rewrite", p_input_tokens: 900, p_output_tokens: 400 })).toBe(1_300);
  expect(await deducted({ p_action_type: "rewrite", p_input_tokens: 90_000 })).toBe(2_000);
  expect(await deducted({ p_action_type: "seo_title", p_tokens_used: 1 })).toBe(1);
});

test.each([
  "assessment_scoring",
  "vision_generation",
  "vision_refinement",
  "blueprint_generation",
  "chat_conversation",
  "audio_generation",
  "image_generation",
  "life_vision_category_summary",
  "life_vision_master_assembly",
  "prompt_suggestions",
  "frequency_flip",
  "an_action_of_the_project",
])("%s can be tracked", async (action) => {
  const user = await userWith(10);
  expect(await track(user, { p_action_type: action, p_tokens_used: 1 })).toMatchObject({
    tokens_deducted: 1,
  });
});

test.each(["admin_grant", "admin_deduct", "restatement", "Chat", "", null])(
  "%s is no action to track: corrections come from adjust_tokens, names are plain",
  async (action) => {
    const user = await userWith(10);
    await expect(track(user, { p_action_type: action, p_tokens_used: 1 })).rejects.toMatchObject({
      message: "invalid_action_type",
    });
  },
);

test("a failed operation is recorded with its error and deducts nothing", async () => {
  const user = await userWith(100);

  const receipt = await track(user, {
    p_model_used: "gpt-4",
    p_input_tokens: 900,
    p_success: false,
    p_error_message: "upstream timed out",
  });

  expect(receipt).toMatchObject({
    success: true,
    tokens_deducted: 0,
    tokens_used: 900,
    tokens_remaining: 100,
  });
  expect(await usagesOf(user)).toMatchObject([
    { success: false, error_message: "upstream timed out", tokens_used: "900" },
  ]);
  expect(await accountOf(user)).toMatchObject({ tokens_used: "0", total_cost: "0" });
  const history = await asUser(db, user, (client) => rpc(client, "get_token_history"));
  expect(history.transactions[0]).toMatchObject({ entry_type: "usage", tokens: 0, balance_after: 100 });
  await expectCleanBooks(db);
});

test("short of tokens, reject records nothing and says the shortfall", async () => {
  const user = await userWith(100);

  const receipt = await track(user, { p_tokens_used: 160 });

  expect(receipt).toMatchObject({
    success: false,
    usage_id: null,
    transaction_id: null,
    tokens_deducted: 0,
    tokens_remaining_to_deduct: 60,
    tokens_remaining: 100,
    deducted_from: [],
  });
  expect(await usagesOf(user)).toEqual([]);
});

test("short of tokens, partial takes what is there and records the rest as uncovered", async () => {
  const user = await userWith(100);

  const first = await track(user, { p_tokens_used: 160, p_on_shortage: "partial" });
  const second = await track(user, { p_tokens_used: 30, p_on_shortage: "partial" });

  expect(first).toMatchObject({
    success: true,
    tokens_used: 160,
    tokens_deducted: 100,
    tokens_remaining_to_deduct: 60,
    tokens_remaining: 0,
  });
  expect(second).toMatchObject({ success: true, tokens_deducted: 0, tokens_remaining_to_deduct: 30 });
  expect((await usagesOf(user)).map((usage) => [usage.tokens_used, usage.tokens_uncovered])).toEqual([
    ["160", "60"],
    ["30", "30"],
  ]);
  expect(await accountOf(user)).toMatchObject({ tokens_remaining: "0", tokens_used: "100" });
  await expectCleanBooks(db);
});

test("use of a user who never had a grant leaves a trace too", async () => {
  const user = await userWith(0);

  const failed = await track(user, { p_tokens_used: 5, p_success: false });
  const uncovered = await track(user, { p_tokens_used: 5, p_on_shortage: "partial" });
  const rejected = await track(user, { p_tokens_used: 5 });

  expect([failed.success, uncovered.success, rejected.success]).toEqual([true, true, false]);
  expect(await usagesOf(user)).toHaveLength(2);
  await expectCleanBooks(db);
});

test("a replay answers what was answered first, failed and partial alike, and nothing happens again", async () => {
  const user = await userWith(100);
  const calls = [
    { p_tokens_used: 30, p_idempotency_key: "a", p_model_used: "gpt-4" },
    { p_tokens_used: 5, p_success: false, p_error_message: "no", p_idempotency_key: "b" },
    { p_tokens_used: 200, p_on_shortage: "partial", p_idempotency_key: "c" },
  ];
  const first = [];
  for (const call of calls) first.push(await track(user, call));
  const again = [];
  for (const call of calls) again.push(await track(user, call));

  expect(again).toEqual(first.map((receipt) => ({ ...receipt, replayed: true })));
  expect(await usagesOf(user)).toHaveLength(3);
});

test("a key that stands for another operation is refused and says which field differs", async () => {
  const user = await userWith(100);
  await track(user, { p_tokens_used: 5, p_success: false, p_idempotency_key: "k" });

  await expect(
    track(user, { p_tokens_used: 6, p_success: false, p_idempotency_key: "k" }),
  ).rejects.toMatchObject({
    message: "idempotency_key_reused",
    detail: '{"differs": ["tokens_used"]}',
  });
  await expect(
    asUser(db, user, (client) =>
      rpc(client, "deduct_tokens_with_fifo", {
        p_user_id: user,
        p_tokens_to_deduct: 5,
        p_action_type: "chat_conversation",
        p_idempotency_key: "k",
      }),
    ),
  ).rejects.toMatchObject({ message: "idempotency_key_reused" });
});

test.each([
  ["p_input_tokens", -1],
  ["p_output_tokens", -1],
  ["p_tokens_used", -1],
  ["p_tokens_used", 1_000_000_000_001],
  ["p_cached_tokens", 11],
  ["p_reasoning_tokens", 1],
  ["p_images", -1],
  ["p_seconds", -0.5],
  ["p_seconds", "NaN"],
  ["p_seconds", `0.${"1".repeat(31)}`],
  ["p_model_used", "  "],
  ["p_model_used", "m".repeat(201)],
  ["p_error_message", "e".repeat(2_001)],
  ["p_on_shortage", "on credit"],
  ["p_on_shortage", null],
])("%s %s is refused, and nothing is recorded", async (field, value) => {
  const user = await userWith(100);

  await expect(track(user, { p_input_tokens: 10, [field]: value })).rejects.toMatchObject({
    code: "PT400",
    message: "invalid_usage",
    detail: expect.stringContaining(field),
  });
  expect(await usagesOf(user)).toEqual([]);
});

test("an operation of which nothing says how many tokens it takes is refused, not given away", async () => {
  const user = await userWith(100);

  await expect(track(user, { p_action_type: "image_generation", p_images: 1 })).rejects.toMatchObject({
    message: "invalid_usage",
    detail: expect.stringContaining("p_tokens_used"),
  });
  expect(
    await track(user, { p_action_type: "image_generation", p_images: 1, p_tokens_used: 0 }),
  ).toMatchObject({ success: true, tokens_deducted: 0 });
});

test("40 connections tracking at once: usage, ledger and account add up", async () => {
  const user = await userWith(1_000);

  const { mix } = await storm(db, {
    connections: 40,
    attempts: 800,
    run: async (client, attempt) => {
      const { rows } = await client.query(
        "select public.track_token_usage($1, 'chat_conversation', p_tokens_used => $2, p_success => $3, p_on_shortage => $4) as r",
        [user, 1 + (attempt % 5), attempt % 7 !== 0, attempt % 2 === 0 ? "partial" : "reject"],
      );
      if (!rows[0].r.success) return "rejected";
      return rows[0].r.tokens_remaining_to_deduct > 0
        ? "uncovered"
        : rows[0].r.tokens_deducted > 0
          ? "deducted"
          : "failed";
    },
  });

  const { rows } = await db.admin.query(
    `select sum(tokens_used - tokens_uncovered) filter (where success)::int as covered, count(*)::int as usages
       from public.token_usage where user_id = $1`,
    [user],
  );
  console.log(`tracking storm: mix=${JSON.stringify(mix)} covered=${rows[0].covered} of 1000`);
  expect(rows[0].covered).toBe(1_000);
  expect(rows[0].usages).toBe(800 - mix["rejected"]!);
  expect(
    await asService(db, (client) => client.query("select * from public.verify_token_ledger($1)", [user])),
  ).toMatchObject({ rows: [] });
});

test("200 replays of one key by 40 connections record one usage, of a failure too", async () => {
  const user = await userWith(100);

  const { mix } = await storm(db, {
    connections: 40,
    attempts: 200,
    run: async (client) => {
      const { rows } = await client.query(
        "select public.track_token_usage($1, 'chat_conversation', p_tokens_used => 9, p_success => false, p_idempotency_key => 'once') as r",
        [user],
      );
      return rows[0].r.replayed ? "replayed" : "effect";
    },
  });

  expect(mix).toEqual({ effect: 1, replayed: 199 });
  expect(await usagesOf(user)).toHaveLength(1);
});

test("the first operations of a user without an account, 40 at once under one key, have one effect", async () => {
  const user = await userWith(0);

  const { mix } = await storm(db, {
    connections: 40,
    attempts: 200,
    run: async (client) => {
      const { rows } = await client.query(
        "select public.track_token_usage($1, 'chat_conversation', p_tokens_used => 9, p_on_shortage => 'partial', p_idempotency_key => 'first') as r",
        [user],
      );
      return rows[0].r.replayed ? "replayed" : "effect";
    },
  });

  expect(mix).toEqual({ effect: 1, replayed: 199 });
});

test("the test sees it: deducting for failed operations", { tags: ["proof"] }, async () => {
  const broken = await createDatabase();
  await applyMutant(broken, "failed-operations-are-charged");
  const user = await createUser(broken);
  await grant(broken, user, 1_000);

  const receipt = await track(user, { p_tokens_used: 900, p_success: false }, broken);
  await broken.drop();

  expect(receipt.tokens_remaining).not.toBe(1_000);
});
