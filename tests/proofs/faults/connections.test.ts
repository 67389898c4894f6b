// @module-tag proof
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { expectProblem } from "../../functions/problem.ts";
import { type Caller, type Stack, startStack } from "../../functions/stack.ts";
import { expectCleanBooks } from "../../support/books.ts";

let stack: Stack;
let admin: Caller & { id: string };
let owner: pg.Client;
beforeAll(async () => {
  stack = await startStack();
  admin = await stack.user({ admin: true });
  owner = new pg.Client({ connectionString: stack.db.url("supabase_admin") });
  await owner.connect();
});
afterAll(async () => {
  await owner.end();
  await stack.close();
});

/** From now on the database takes no connection but a superuser's, and has none. */
async function takeAll(): Promise<void> {
  await owner.query(`alter database ${stack.db.name} connection limit 0`);
  await owner.query(
    "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
  );
}

test("without a free connection every call is refused with 503 and changes nothing; with one, the same keys work", async () => {
  const user = await stack.user();
  const ask = (nth: number) =>
    stack.ask("admin-adjust", {
      caller: admin,
      body: { userId: user.id, delta: 10, idempotencyKey: `crowded-${nth}` },
    });
  expect((await ask(0)).status).toBe(200);

  await takeAll();
  const refused = await Promise.all(Array.from({ length: 30 }, (_, nth) => ask(nth + 1)));
  const direct = await fetch(`${stack.url}/rest/v1/rpc/get_user_token_balance`, {
    method: "POST",
    headers: { ...admin.headers, "content-type": "application/json" },
    body: JSON.stringify({ p_user_id: user.id }),
  });
  const { rows } = await owner.query(
    "select count(*)::int as entries from public.token_transactions where user_id = $1",
    [user.id],
  );
  await owner.query(`alter database ${stack.db.name} connection limit -1`);
  const again = await Promise.all(refused.map((_, nth) => ask(nth + 1)));

  const mix: Record<string, number> = {};
  for (const { status, body } of refused)
    mix[`${status} ${body?.code}`] = (mix[`${status} ${body?.code}`] ?? 0) + 1;
  console.log(
    `no free connection: mix=${JSON.stringify(mix)} API=${direct.status} effects=${rows[0].entries - 1}; with one again: ${again.filter(({ status }) => status === 200).length} of ${again.length}`,
  );
  for (const answer of refused) expectProblem(answer, "unavailable");
  expect(direct.status).toBe(503);
  expect(rows[0].entries).toBe(1);
  expect(again.map(({ status, headers }) => [status, headers.get("idempotency-replayed")])).toEqual(
    again.map(() => [200, null]),
  );
  expect((await stack.ask("balance", { caller: user })).body.balance.total_active).toBe(310);
  await expectCleanBooks(stack.db);
}, 60_000);
