import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { grant } from "../support/books.ts";
import { giveFreePlanAtRegistration } from "../support/plans.ts";
import { asService, asUser, createUser, rpc } from "../support/roles.ts";
import { letTimePass } from "../support/time.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

test("a quote is what the operation then does, grant by grant", async () => {
  const user = await createUser(db);
  for (const [tokens, priority] of [
    [300, 50],
    [200, 10],
    [5_000, 90],
  ] as const)
    await grant(db, user, tokens, { priority });
  let compared = 0;

  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 1_500 }), async (tokens) => {
      const operation = { p_action_type: "chat_conversation", p_input_tokens: tokens };
      const quote = await asUser(db, user, (client) => rpc(client, "estimate_tokens", operation));
      const receipt = await asUser(db, user, (client) => rpc(client, "track_token_usage", operation));
      expect(quote.sufficient).toBe(receipt.success);
      expect(quote.tokens_short).toBe(receipt.tokens_remaining_to_deduct);
      if (receipt.success) {
        expect(quote.would_be_deducted_from).toEqual(receipt.deducted_from);
        expect(quote.cost_estimate).toEqual(receipt.cost_estimate);
        compared++;
      }
    }),
    { numRuns: 30 },
  );
  expect(compared).toBeGreaterThan(3);
});

test("a quote counts no grant that has run out, booked or not, and changes nothing", async () => {
  const user = await createUser(db);
  await grant(db, user, 40, { type: "trial", expires_in: "1 hour" });
  await grant(db, user, 10);
  await letTimePass(db, user, 1);
  const state = () =>
    db.admin.query("select * from public.token_accounts where user_id = $1", [user]).then((r) => r.rows);
  const before = await state();

  const quote = await asUser(db, user, (client) =>
    rpc(client, "estimate_tokens", { p_action_type: "chat_conversation", p_tokens_used: 25 }),
  );

  expect(quote).toMatchObject({
    tokens: 25,
    sufficient: false,
    tokens_short: 15,
    tokens_remaining: 10,
    would_be_deducted_from: [{ deducted: 10 }],
  });
  expect(await state()).toEqual(before);
});

test("a user whom registration missed gets a quote from their plan's tokens", async () => {
  const missed = await createDatabase();
  const user = await createUser(missed);
  await giveFreePlanAtRegistration(missed);

  const quote = await asService(missed, (client) =>
    rpc(client, "estimate_tokens", { p_user_id: user, p_action_type: "seo_title" }),
  );
  await missed.drop();

  expect(quote).toMatchObject({ tokens: 300, sufficient: true, tokens_remaining: 10_000 });
});
