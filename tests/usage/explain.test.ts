import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { grant } from "../support/books.ts";
import { asAdmin, asUser, createUser, rpc } from "../support/roles.ts";

let db: Database;
let user: string;
beforeAll(async () => {
  db = await createDatabase();
  user = await createUser(db);
});
afterAll(() => db.drop());

const explain = (args: Record<string, unknown>, who = user) =>
  asUser(db, who, (client) => rpc(client, "explain_token_charge", args));

test("a charge is explained by usage and by transaction alike: operation, entry, grants that paid", async () => {
  const [first, second] = [await grant(db, user, 100), await grant(db, user, 400)];
  const receipt = await asUser(db, user, (client) =>
    rpc(client, "track_token_usage", {
      p_action_type: "vision_generation",
      p_model_used: "gpt-4",
      p_input_tokens: 120,
      p_output_tokens: 30,
    }),
  );

  const byUsage = await explain({ p_usage_id: receipt.usage_id });

  expect(byUsage).toMatchObject({
    usage: { id: receipt.usage_id, action_type: "vision_generation", model_used: "gpt-4", tokens_used: 150 },
    transaction: {
      id: receipt.transaction_id,
      tokens: -150,
      reason: "vision_generation",
      actor_role: "user",
    },
    paid_by: [
      { grant_id: first, tokens: 100, grant_type: "purchase" },
      { grant_id: second, tokens: 50 },
    ],
    undone_by: [],
    tokens_net: -150,
  });
  expect(await explain({ p_transaction_id: receipt.transaction_id })).toEqual(byUsage);
});

test("a failed operation is explained as costing nothing", async () => {
  const receipt = await asUser(db, user, (client) =>
    rpc(client, "track_token_usage", {
      p_action_type: "chat_conversation",
      p_tokens_used: 9,
      p_success: false,
    }),
  );

  expect(await explain({ p_usage_id: receipt.usage_id })).toMatchObject({
    usage: { success: false, tokens_used: 9 },
    transaction: { entry_type: "usage", tokens: 0 },
    paid_by: [],
    tokens_net: 0,
  });
});

test("what happened before the books opened has a usage and no transaction", async () => {
  const { rows } = await db.admin.query(
    "insert into public.token_usage (user_id, action_type, tokens_used) values ($1, 'chat_conversation', 5) returning id",
    [user],
  );

  expect(await explain({ p_usage_id: rows[0].id })).toMatchObject({
    usage: { tokens_used: 5 },
    transaction: null,
    paid_by: [],
    tokens_net: null,
  });
});

test("another user's charge is not there, and an admin sees it", async () => {
  const stranger = await createUser(db);
  const admin = await createUser(db, { admin: true });
  const id = (await db.admin.query("select id from public.token_usage where user_id = $1 limit 1", [user]))
    .rows[0].id;

  await expect(explain({ p_usage_id: id }, stranger)).rejects.toMatchObject({
    code: "PT404",
    message: "charge_not_found",
  });
  await expect(
    asUser(db, stranger, (client) =>
      rpc(client, "explain_token_charge", { p_user_id: user, p_usage_id: id }),
    ),
  ).rejects.toMatchObject({ message: "forbidden" });
  expect(
    await asAdmin(db, admin, (client) =>
      rpc(client, "explain_token_charge", { p_user_id: user, p_usage_id: id }),
    ),
  ).toMatchObject({ usage: { id } });
});

test("neither or both of usage and transaction is refused", async () => {
  await expect(explain({})).rejects.toMatchObject({ message: "invalid_usage" });
  await expect(explain({ p_usage_id: user, p_transaction_id: 1 })).rejects.toMatchObject({
    message: "invalid_usage",
  });
});
