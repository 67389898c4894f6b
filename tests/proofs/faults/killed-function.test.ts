// @module-tag proof
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Answer, type Caller, type Stack, startStack } from "../../functions/stack.ts";
import { expectCleanBooks } from "../../support/books.ts";

let stack: Stack;
let admin: Caller & { id: string };
beforeAll(async () => {
  // a request can ask for the process to be killed after SQL has committed, and before anybody is told
  stack = await startStack(
    {},
    {
      file: "_shared/operation.ts",
      right: "    const { replayed, ...body } = result",
      wrong: `    if (request.headers.get("x-test") === "kill") Deno.kill(Deno.pid, "SIGKILL");
    const { replayed, ...body } = result`,
    },
  );
  admin = await stack.user({ admin: true });
});
afterAll(() => stack.close());

/** As a client does: again after a moment, while the function is not there. A busy machine takes a while to start it. */
async function askUntilAnswered(body: object): Promise<Answer> {
  for (const deadline = Date.now() + 20_000; ; await sleep(50)) {
    const answer = await stack.ask("admin-adjust", { caller: admin, body });
    if (answer.body?.code !== "WORKER_ERROR" || Date.now() > deadline) return answer;
  }
}

test("an edge function that is killed between commit and answer has acted once, also after a retry", async () => {
  const rounds = 8;
  let [effects, answered] = [0, 0];
  for (let round = 0; round < rounds; round++) {
    const user = await stack.user();
    const body = { userId: user.id, delta: 50 + round, idempotencyKey: `round-${round}` };

    const killed = await stack.ask("admin-adjust", { caller: admin, body, headers: { "x-test": "kill" } });
    expect(killed.status, "nobody was told").toBeGreaterThanOrEqual(500);
    const again = await askUntilAnswered(body);

    expect(again).toMatchObject({ status: 200, body: { delta: 50 + round, tokens_remaining: 50 + round } });
    if (again.headers.get("idempotency-replayed") === "true") answered++;
    const { rows } = await stack.db.admin.query(
      "select count(*)::int as effects from public.token_transactions where user_id = $1",
      [user.id],
    );
    effects += rows[0].effects;
  }

  console.log(`killed function: rounds=${rounds} effects=${effects} first answers by replay=${answered}`);
  expect([effects, answered]).toEqual([rounds, rounds]);
  await expectCleanBooks(stack.db);
});

test("the test sees it: without a key, asking again acts again", async () => {
  const user = await stack.user();
  const body = { userId: user.id, delta: 50 };

  await stack.ask("admin-adjust", { caller: admin, body, headers: { "x-test": "kill" } });
  const again = await askUntilAnswered(body);

  expect(again.body.tokens_remaining).toBe(100);
});
