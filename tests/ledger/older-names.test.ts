import { afterAll, beforeAll, expect, test } from "vitest";
import { startApiUnderTest } from "../../packages/local-platform/tests/api-under-test.ts";
import type { ApiUnderTest } from "../../packages/local-platform/tests/api-under-test.ts";
import { createDatabase } from "../support/database.ts";
import { asAnon, asService, asUser, createUser } from "../support/roles.ts";

let it: ApiUnderTest;
let user: string;
beforeAll(async () => {
  it = await startApiUnderTest("", {}, await createDatabase());
  user = await createUser(it.db);
  await it.db.admin.query("select public.grant_tokens($1, 100, 'purchase')", [user]);
  await it.db.admin.query("select public.deduct_tokens_with_fifo($1, 30)", [user]);
});
afterAll(() => it?.close());

test("in SQL, tokens_used of a transaction is its signed number", async () => {
  const { rows } = await asUser(it.db, user, (client) =>
    client.query("select t.tokens_used::int from public.token_transactions t order by t.id"),
  );

  expect(rows).toEqual([{ tokens_used: 100 }, { tokens_used: -30 }]);
});

test("over the API too, as a client written for the older table asks for it", async () => {
  const client = it.clientAs(await it.token({ role: "authenticated", sub: user }));

  const { data, error } = await client
    .from("token_transactions")
    .select("action_type, tokens_used, created_at")
    .order("created_at");

  expect(error).toBeNull();
  expect(data).toMatchObject([{ tokens_used: 100 }, { tokens_used: -30 }]);
});

test("nobody reads by it what they may not read", async () => {
  const other = await createUser(it.db);
  const ask = "select t.tokens_used from public.token_transactions t";

  await expect(asAnon(it.db, (client) => client.query(ask))).rejects.toMatchObject({ code: "42501" });
  expect((await asUser(it.db, other, (client) => client.query(ask))).rows).toEqual([]);
  expect((await asService(it.db, (client) => client.query(ask))).rows).toHaveLength(2);
});

test("a subscription ten days past its period is shown as over, or as the free plan that comes next", async () => {
  const shown = async () =>
    (
      await asUser(it.db, user, (client) =>
        client.query("select is_active, plan_type from public.user_subscriptions"),
      )
    ).rows;
  await it.db.admin.query("select public.change_token_plan($1, 'starter', 'card', 'x')", [user]);
  expect(await shown()).toEqual([{ is_active: true, plan_type: "starter" }]);
  await it.db.admin.query(
    "update tokenbook.subscriptions set period_start = period_start - interval '60 days', expires_at = now() - interval '10 days' where user_id = $1",
    [user],
  );

  expect(await shown()).toEqual([{ is_active: false, plan_type: null }]);
  await it.db.admin.query("update tokenbook.subscriptions set next_plan_type = 'free' where user_id = $1", [
    user,
  ]);
  expect(await shown()).toEqual([{ is_active: true, plan_type: "free" }]);
});
