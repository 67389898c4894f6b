import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../../support/database.ts";
import { asAdmin, asService, asUser, createUser, rpc } from "../../support/roles.ts";
import { letTimePass } from "../../support/time.ts";
import { expectCleanBooks, grant } from "../../support/books.ts";
import { told } from "../../support/provider-events.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

const reconcile = (user: string) =>
  asService(db, (client) => rpc(client, "reconcile_user_token_balance", { p_user_id: user }));

async function track(user: string, tokens: number, options: Record<string, unknown> = {}) {
  return await asService(db, (client) =>
    rpc(client, "track_token_usage", {
      p_user_id: user,
      p_action_type: "chat_conversation",
      p_model_used: "gpt-4",
      p_tokens_used: tokens,
      ...options,
    }),
  );
}
/** A row of the audit trail that no function wrote, as the owner of the tables can. */
async function write(user: string, tokens: number, columns: Record<string, unknown> = {}) {
  const row = {
    user_id: user,
    action_type: "chat_conversation",
    model_used: "gpt-4",
    tokens_used: tokens,
    ...columns,
  };
  const names = Object.keys(row);
  await db.admin.query(
    `insert into public.token_usage (${names.join(", ")}) values (${names.map((_, i) => `$${i + 1}`).join(", ")})`,
    Object.values(row),
  );
}
const named = (answer: { findings: { scenario: string; tokens: number; off: number; cause: string }[] }) =>
  answer.findings.map(({ scenario, cause, tokens, off }) => ({ scenario, cause, tokens, off }));

test("a balance that is right has no finding, and the sum is shown line by line", async () => {
  const user = await createUser(db);
  await grant(db, user, 1_000);
  await grant(db, user, 50, { type: "admin" });
  await track(user, 300);
  await track(user, 40, { p_success: false, p_error_message: "timeout" });
  await asService(db, (client) =>
    rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 100 }),
  );
  await asService(db, (client) => rpc(client, "adjust_tokens", { p_user_id: user, p_delta: 7 }));
  await asService(db, (client) => rpc(client, "adjust_tokens", { p_user_id: user, p_delta: -10 }));

  const answer = await reconcile(user);

  expect(answer).toMatchObject({
    current_remaining: 647,
    expected_remaining: 647,
    remaining_difference: 0,
    current_used: 400,
    calculated_used: 400,
    used_difference: 0,
    since: null,
    findings: [],
    formula: {
      start: 0,
      granted: 1_000,
      admin_granted: 57,
      tokens_used: 400,
      admin_deducted: 10,
      expired: 0,
    },
  });
});

test("usage that nothing was deducted for makes the balance higher than it should be", async () => {
  const user = await createUser(db);
  await grant(db, user, 1_000);
  await track(user, 100);
  await write(user, 250);

  const answer = await reconcile(user);

  expect(named(answer)).toEqual([
    { scenario: "balance_higher", cause: "used_and_not_deducted", tokens: 250, off: 250 },
  ]);
  expect(answer).toMatchObject({ current_remaining: 900, expected_remaining: 650, used_difference: -250 });
});

test("a balance below what it should be is named by its cause, with advice", async () => {
  const user = await createUser(db);
  await grant(db, user, 10_000);
  const failed = await track(user, 700);
  await track(user, 30);
  await db.admin.query("update public.token_usage set success = false where user_id = $1 and id = $2", [
    user,
    failed.usage_id,
  ]);
  await db.admin.query(
    "update public.token_usage set tokens_used = 10 where user_id = $1 and tokens_used = 30",
    [user],
  );

  const answer = await reconcile(user);

  expect(named(answer)).toEqual([
    { scenario: "balance_lower", cause: "entry_differs_from_usage", tokens: 20, off: -20 },
    { scenario: "failed_operations_counted", cause: "failed_and_deducted", tokens: 700, off: -700 },
  ]);
  expect(answer).toMatchObject({
    current_remaining: 9_270,
    expected_remaining: 9_990,
    remaining_difference: -720,
    calculated_used: 10,
    formula: { granted: 10_000, tokens_used: 10, expired: 0 },
  });
  expect(answer.since).toBe(answer.findings[1].since);
  expect(answer.findings[1]).toMatchObject({
    is_repairable: true,
    advice: expect.stringContaining("failed operation"),
    evidence: { rows: 1, first_usage_id: failed.usage_id, first_transaction_id: failed.transaction_id },
  });
});

test("two equal operations in one second, both deducted, are two operations", async () => {
  const user = await createUser(db);
  await grant(db, user, 1_000);
  await track(user, 100);
  await track(user, 100);
  await track(user, 100, { p_metadata: { request_id: "a" } });
  await track(user, 100, { p_metadata: { request_id: "b" } });

  expect(await reconcile(user)).toMatchObject({ findings: [], current_remaining: 600 });
});

test("a request that the server seems to have sent twice is shown, and nothing is off until somebody decides", async () => {
  const user = await createUser(db);
  await grant(db, user, 10_000);
  const request = { p_metadata: { request_id: "req-1" } };
  const first = await track(user, 200, request);
  const second = await track(user, 200, request);

  const shown = await reconcile(user);
  await asService(db, (client) =>
    rpc(client, "adjust_tokens", { p_user_id: user, p_delta: 5, p_reason: "a gift" }),
  );
  const unsettled = await reconcile(user);
  await asService(db, (client) =>
    rpc(client, "refund_tokens", { p_user_id: user, p_transaction_id: second.transaction_id }),
  );

  expect(first.transaction_id).toBeLessThan(second.transaction_id);
  expect(named(shown)).toEqual([
    { scenario: "duplicate_usage", cause: "one_request_deducted_twice", tokens: 200, off: 0 },
  ]);
  expect(shown).toMatchObject({ remaining_difference: 0, used_difference: 0, expected_remaining: 9_600 });
  expect(shown.findings[0]).toMatchObject({
    is_repairable: false,
    advice: expect.stringContaining("refund the second"),
    evidence: { first_transaction_id: second.transaction_id },
  });
  expect(named(unsettled)).toEqual(named(shown));
  expect(await reconcile(user)).toMatchObject({ findings: [], current_remaining: 9_805 });
});

test("a repair settles what was shown", async () => {
  const user = await createUser(db);
  await grant(db, user, 1_000);
  for (let n = 0; n < 2; n++) await track(user, 200, { p_metadata: { request_id: "req-1" } });

  await asService(db, (client) =>
    rpc(client, "adjust_tokens", { p_user_id: user, p_delta: 200, p_reason: "reconciliation: sent twice" }),
  );

  expect(await reconcile(user)).toMatchObject({
    findings: [],
    current_remaining: 800,
    remaining_difference: 0,
  });
});

test("deductions with a key, or by a user, are operations of their own, even if they name one request", async () => {
  const user = await createUser(db);
  await grant(db, user, 1_000);
  const request = { p_metadata: { request_id: "req-1" } };
  for (const key of ["one", "two"]) await track(user, 100, { ...request, p_idempotency_key: key });
  for (let n = 0; n < 2; n++)
    await asUser(db, user, (client) =>
      rpc(client, "track_token_usage", {
        p_action_type: "chat_conversation",
        p_model_used: "gpt-4",
        p_tokens_used: 100,
        ...request,
      }),
    );
  await track(user, 100, request); // one by the server: nothing is like it

  expect(await reconcile(user)).toMatchObject({ findings: [], current_remaining: 500 });
});

test("a use that calls itself a purchase is not counted as a grant", async () => {
  const user = await createUser(db);
  await grant(db, user, 1_000);
  const { usage_id } = await track(user, 700);
  await db.admin.query(
    "update public.token_usage set action_type = 'pack_purchase' where user_id = $1 and id = $2",
    [user, usage_id],
  );

  expect(await reconcile(user)).toMatchObject({ findings: [], expected_remaining: 300 });
});

test("an operation written down twice and deducted once is named, and the balance is right", async () => {
  const user = await createUser(db);
  await grant(db, user, 1_000);
  const { usage_id, transaction_id } = await track(user, 100);
  await db.admin.query(
    `insert into public.token_usage (user_id, action_type, model_used, tokens_used, transaction_id, created_at)
     select user_id, action_type, model_used, tokens_used, $3, created_at from public.token_usage where user_id = $1 and id = $2`,
    [user, usage_id, transaction_id],
  );

  const answer = await reconcile(user);

  expect(named(answer)).toEqual([
    { scenario: "duplicate_usage", cause: "recorded_twice", tokens: 100, off: 0 },
  ]);
  expect(answer).toMatchObject({ remaining_difference: 0, used_difference: 0 });
});

test("more used than was ever granted is a negative balance", async () => {
  const user = await createUser(db);
  await grant(db, user, 1_000);
  await write(user, 1_400);

  const answer = await reconcile(user);

  expect(answer).toMatchObject({ current_remaining: 1_000, expected_remaining: -400 });
  expect(named(answer)).toEqual([
    { scenario: "balance_higher", cause: "used_and_not_deducted", tokens: 1_400, off: 1_400 },
    { scenario: "negative_balance", cause: "used_more_than_was_granted", tokens: 400, off: 0 },
  ]);
});

test("a cost that the trail does not add up to is named in cents, and concerns no tokens", async () => {
  const user = await createUser(db);
  await grant(db, user, 1_000);
  const { usage_id } = await track(user, 100);
  await db.admin.query("update public.token_usage set cost_estimate = 12.5 where user_id = $1 and id = $2", [
    user,
    usage_id,
  ]);

  const answer = await reconcile(user);

  expect(answer).toMatchObject({
    current_cost: 0,
    calculated_cost: 12.5,
    cost_difference: -12.5,
    remaining_difference: 0,
  });
  expect(answer.findings).toMatchObject([{ scenario: "cost_mismatch", cents: -12.5, is_repairable: false }]);
});

test("an account that its own ledger contradicts is named, and no adjustment is offered for it", async () => {
  const user = await createUser(db);
  await grant(db, user, 1_000);
  await db.admin.query("update public.token_accounts set tokens_remaining = 1500 where user_id = $1", [user]);

  const answer = await reconcile(user);
  await db.admin.query("update public.token_accounts set tokens_remaining = 1000 where user_id = $1", [user]);

  expect(answer).toMatchObject({ current_remaining: 1_500, expected_remaining: 1_000 });
  expect(answer.findings).toMatchObject([
    { scenario: "balance_higher", cause: "account_differs_from_ledger", is_repairable: false },
  ]);
});

test("a repair settles what was before it; an adjustment with another reason does not", async () => {
  const user = await createUser(db);
  await grant(db, user, 1_000);
  await write(user, 250);
  const adjust = (delta: number, reason: string) =>
    asService(db, (client) =>
      rpc(client, "adjust_tokens", { p_user_id: user, p_delta: delta, p_reason: reason }),
    );

  await adjust(-250, "goodwill the other way round");
  expect(await reconcile(user)).toMatchObject({ remaining_difference: 250, current_remaining: 750 });
  await adjust(250, "taken back");
  await adjust(-250, "reconciliation: balance_higher");
  expect(await reconcile(user)).toMatchObject({
    findings: [],
    current_remaining: 750,
    expected_remaining: 750,
    formula: { since: "repair 4", start: 750 },
  });
  await track(user, 50);
  await write(user, 33);
  expect(await reconcile(user)).toMatchObject({
    current_remaining: 700,
    expected_remaining: 667,
    remaining_difference: 33,
  });
});

test("a difference runs out with the grant that it sits in", async () => {
  const user = await createUser(db);
  await grant(db, user, 1_000, { type: "trial", expires_in: "1 hour" });
  await grant(db, user, 500);
  await write(user, 300); // the trial would have paid for it
  const failed = await track(user, 40);
  await db.admin.query("update public.token_usage set success = false where user_id = $1 and id = $2", [
    user,
    failed.usage_id,
  ]);
  expect(await reconcile(user)).toMatchObject({ current_remaining: 1_460, expected_remaining: 1_200 });

  await letTimePass(db, user, 1);
  const due = await reconcile(user);
  await asService(db, (client) => rpc(client, "get_user_token_balance", { p_user_id: user }));
  await asService(db, (client) =>
    rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 1 }),
  );
  const booked = await reconcile(user);

  expect(due).toMatchObject({
    current_remaining: 500,
    expected_remaining: 500,
    findings: [],
    formula: { expired: 700 },
  });
  expect(booked).toMatchObject({
    current_remaining: 499,
    expected_remaining: 499,
    findings: [],
    formula: { expired: 700 },
  });
});

test("a partial deduction, a plan, a refunded payment and its debt are no discrepancy", async () => {
  const user = await createUser(db);
  await grant(db, user, 500);
  await track(user, 800, { p_on_shortage: "partial" });
  const event = (id: string, facts: Record<string, unknown>) =>
    asService(db, (client) =>
      rpc(client, "record_token_payment_event", {
        p_provider: "stripe",
        p_event_id: id,
        p_event_type: id,
        p_provider_payment_id: "pi-partial",
        p_facts: told(facts),
      }),
    );
  await event("paid", { kind: "paid", user_id: user, plan_type: "starter", amount_cents: 900 });
  await track(user, 1_000);
  await event("refund", { kind: "refunded", refunded_cents: 900 });
  await grant(db, user, 5_000);

  const answer = await reconcile(user);

  expect(answer).toMatchObject({
    findings: [],
    current_remaining: 4_000,
    used_difference: 0,
    formula: { tokens_used: 1_500 },
  });
  await expectCleanBooks(db);
});

test("everyone is gone through worst first, above a threshold, and in pieces", async () => {
  const other = await createDatabase();
  const users = (await Promise.all(Array.from({ length: 6 }, () => createUser(other)))).sort();
  for (const user of users) await grant(other, user, 10_000);
  const usage = [90, 100, 101, 0, 5_000, 700];
  for (const [i, user] of users.entries())
    if (usage[i]! > 0)
      await other.admin.query(
        "insert into public.token_usage (user_id, action_type, tokens_used) values ($1, 'chat_conversation', $2)",
        [user, usage[i]],
      );
  const find = async (args: Record<string, unknown> = {}) =>
    (
      await asService(other, (client) =>
        client.query(
          `select user_id, email, remaining_difference::int as off, scenarios from public.find_token_discrepancies(
             ${Object.entries(args)
               .map(
                 ([name, value]) => `${name} => ${typeof value === "number" ? value : `'${String(value)}'`}`,
               )
               .join(", ")})`,
        ),
      )
    ).rows;

  expect((await find()).map((row) => row.off)).toEqual([5_000, 700, 101]);
  expect((await find({ p_threshold: 0 })).map((row) => row.off)).toEqual([5_000, 700, 101, 100, 90]);
  expect((await find())[0]).toEqual({
    user_id: users[4],
    email: `${users[4]}@example.com`,
    off: 5_000,
    scenarios: ["balance_higher"],
  });
  expect((await find({ p_until: users[2] })).map((row) => row.user_id)).toEqual([users[2]]);
  expect((await find({ p_after: users[2], p_until: users[4] })).map((row) => row.user_id)).toEqual([
    users[4],
  ]);
  expect((await find({ p_after: users[4] })).map((row) => row.user_id)).toEqual([users[5]]);
  await expect(find({ p_threshold: -1 })).rejects.toMatchObject({ code: "PT400", message: "invalid_amount" });
  await other.drop();
});

test("only admins and the server may ask, and of users that there are", async () => {
  const user = await createUser(db);
  const admin = await createUser(db, { admin: true });
  const nobody = "00000000-0000-4000-8000-00000000dead";

  await expect(
    asUser(db, user, (client) => rpc(client, "reconcile_user_token_balance", { p_user_id: user })),
  ).rejects.toMatchObject({ code: "42501" });
  await expect(
    asUser(db, user, (client) => client.query("select * from public.find_token_discrepancies()")),
  ).rejects.toMatchObject({
    code: "42501",
  });
  await expect(reconcile(nobody)).rejects.toMatchObject({ code: "PT404", message: "user_not_found" });
  const answer = await asAdmin(db, admin, (client) =>
    rpc(client, "reconcile_user_token_balance", { p_user_id: user }),
  );
  expect(answer).toMatchObject({ current_remaining: 0, expected_remaining: 0, findings: [] });
});
