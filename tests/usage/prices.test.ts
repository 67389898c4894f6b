import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { grant } from "../support/books.ts";
import { asUser, createUser, rpc } from "../support/roles.ts";

let db: Database;
let user: string;
beforeAll(async () => {
  db = await createDatabase();
  user = await createUser(db);
  await grant(db, user, 1_000_000_000);
  await db.admin.query(`
    insert into public.token_model_prices
      (model, valid_from, input_cents_per_million, cached_input_cents_per_million, output_cents_per_million, cents_per_image, cents_per_minute)
    values
      ('gpt-4', '-infinity', 3000, null, 6000, null, null),
      ('gpt-5-mini', '2025-01-01', 50, 5, 400, null, null),
      ('gpt-5-mini', '2026-01-01', 25, 2.5, 200, null, null),
      ('gpt-5-mini', '2999-01-01', 1, 1, 1, null, null),
      ('dall-e-3', '-infinity', null, null, null, 4, null),
      ('whisper', '-infinity', null, null, null, null, 0.6)`);
});
afterAll(() => db.drop());

const costOf = async (args: Record<string, unknown>) =>
  (
    await asUser(db, user, (client) =>
      rpc(client, "track_token_usage", { p_action_type: "chat_conversation", ...args }),
    )
  ).cost_estimate;

test.each([
  ["tokens by their pools", { p_model_used: "gpt-4", p_input_tokens: 1_000, p_output_tokens: 500 }, 6],
  [
    "the price of today, not an older or a future one",
    { p_model_used: "gpt-5-mini", p_input_tokens: 1_000_000 },
    25,
  ],
  [
    "cached input at its own price, out of the input",
    { p_model_used: "gpt-5-mini", p_input_tokens: 1_000_000, p_cached_tokens: 600_000 },
    11.5,
  ],
  [
    "cached input as other input where it has no price",
    { p_model_used: "gpt-4", p_input_tokens: 1_000, p_cached_tokens: 1_000 },
    3,
  ],
  [
    "reasoning inside the output",
    { p_model_used: "gpt-5-mini", p_output_tokens: 5_000, p_reasoning_tokens: 4_000 },
    1,
  ],
  ["images", { p_model_used: "dall-e-3", p_images: 3, p_tokens_used: 10 }, 12],
  ["audio by the second", { p_model_used: "whisper", p_seconds: 90, p_tokens_used: 10 }, 0.9],
  ["nothing used costs nothing", { p_model_used: "gpt-4", p_input_tokens: 0, p_output_tokens: 0 }, 0],
])("cost in cents: %s", async (_what, args, cents) => {
  expect(Number(await costOf(args))).toBe(cents);
});

test.each([
  ["a model that is not listed", { p_model_used: "new-model", p_input_tokens: 1_000 }],
  ["no model", { p_input_tokens: 1_000 }],
  ["a price that is missing for what was used", { p_model_used: "dall-e-3", p_images: 1, p_input_tokens: 5 }],
  ["a fixed number of tokens, which says nothing of their kind", { p_model_used: "gpt-4", p_tokens_used: 5 }],
])("the cost is unknown, never 0: %s", async (_what, args) => {
  expect(await costOf(args)).toBeNull();
});

test("costs are rounded once per operation, up, to 0.0001 cents", async () => {
  // 7 * 25 / 10^6 + 3 * 200 / 10^6 = 0.000775
  expect(Number(await costOf({ p_model_used: "gpt-5-mini", p_input_tokens: 7, p_output_tokens: 3 }))).toBe(
    0.0008,
  );
  // exactly on the grid stays as it is
  expect(Number(await costOf({ p_model_used: "gpt-5-mini", p_input_tokens: 4 }))).toBe(0.0001);
});

test("totals are in cents, and in dollars under the old name; unknown and failed costs are not in them", async () => {
  const spender = await createUser(db);
  await grant(db, spender, 100_000);
  const track = (args: Record<string, unknown>) =>
    asUser(db, spender, (client) =>
      rpc(client, "track_token_usage", { p_action_type: "chat_conversation", ...args }),
    );
  await track({ p_model_used: "gpt-4", p_input_tokens: 1_000 });
  await track({ p_model_used: "gpt-4", p_output_tokens: 1_000 });
  await track({ p_model_used: "gpt-4", p_output_tokens: 1_000, p_success: false });
  await track({ p_model_used: "unknown", p_output_tokens: 1_000 });

  const { rows } = await asUser(db, spender, (client) =>
    client.query(`
      select a.total_cost::float8 as cents, c.vibe_assistant_total_cost::float8 as dollars
        from public.token_accounts a join public.token_counters c using (user_id)`),
  );
  expect(rows).toEqual([{ cents: 9, dollars: 0.09 }]);
});

test.each([["'NaN'"], ["-1"], ["'Infinity'"]])("a price of %s is refused", async (price) => {
  await expect(
    db.admin.query(
      `insert into public.token_model_prices (model, input_cents_per_million) values ('bad', ${price})`,
    ),
  ).rejects.toMatchObject({ code: "23514" });
});
