// @module-tag proof
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createKeys, type Keys } from "local-platform/gateway/keys";
import { expectCleanBooks, grant } from "../../support/books.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { createUser } from "../../support/roles.ts";
import { type ApiProcess, startApiProcess } from "./killable-api.ts";

let db: Database;
let keys: Keys;
beforeAll(async () => {
  db = await createDatabase();
  keys = await createKeys();
});
afterAll(() => db.drop());

/** Deducts over HTTP; undefined when there was no answer. */
async function deduct({ url }: ApiProcess, user: string, tokens: number, key: string | null) {
  try {
    const response = await fetch(`${url}/rest/v1/rpc/deduct_tokens_with_fifo`, {
      method: "POST",
      headers: { apikey: keys.secretKey, "content-type": "application/json" },
      body: JSON.stringify({
        p_user_id: user,
        p_tokens_to_deduct: tokens,
        ...(key !== null && { p_action_type: "chat_conversation", p_idempotency_key: key }),
      }),
    });
    return response.ok ? ((await response.json()) as { success: boolean; replayed: boolean }) : undefined;
  } catch {
    return undefined;
  }
}

/** Kills the API up to three times under 12 clients, each of which sends again what got no answer. */
async function crashApi(withKeys: boolean) {
  const users = await Promise.all(Array.from({ length: 4 }, () => createUser(db)));
  for (const user of users) await grant(db, user, 1_000_000);
  const figures = { asked: 0, unanswered: 0, "had happened": 0, spent: 0, meant: 0 };
  let api = await startApiProcess(db, keys);
  for (let round = 0; round < 3; round++) {
    const unanswered: { user: string; tokens: number; key: string | null }[] = [];
    const killed = new AbortController();
    const isDown = () => killed.signal.aborted;
    const clients = Array.from({ length: 12 }, async (_, nth) => {
      for (let call = 0; !isDown(); call++) {
        const request = {
          user: users[(nth + call) % users.length]!,
          tokens: 1 + (call % 9),
          key: withKeys ? `${round}-${nth}-${call}` : null,
        };
        figures.asked++;
        figures.meant += request.tokens;
        if ((await deduct(api, request.user, request.tokens, request.key)) === undefined) {
          unanswered.push(request);
          return;
        }
      }
    });
    await sleep(400 + 200 * round);
    api.child.kill("SIGKILL");
    killed.abort();
    await Promise.all(clients);

    // what got no answer is sent again to the one that the next round kills
    api = await startApiProcess(db, keys);
    for (const { user, tokens, key } of unanswered) {
      figures.unanswered++;
      const answer = await deduct(api, user, tokens, key);
      expect(answer?.success).toBe(true);
      if (answer!.replayed) figures["had happened"]++;
    }
    const { rows } = await db.admin.query(
      "select -sum(tokens)::int as spent from public.token_transactions where user_id = any ($1) and tokens < 0",
      [users],
    );
    figures.spent = rows[0].spent;
    if (figures.spent > figures.meant) break; // seen
  }
  api.child.kill("SIGKILL");
  return figures;
}

test("an API that is killed loses nothing and does nothing twice: what got no answer is sent again with its key", async () => {
  const figures = await crashApi(true);

  console.log(`killed API: ${JSON.stringify(figures)}`);
  expect(figures.unanswered).toBeGreaterThan(0);
  expect(figures.spent).toBe(figures.meant);
  await expectCleanBooks(db);
}, 90_000);

test("the test sees it: without keys, what is sent again is spent twice", async () => {
  const figures = await crashApi(false);

  console.log(`killed API, no keys: ${JSON.stringify(figures)}`);
  expect(figures.spent).toBeGreaterThan(figures.meant);
}, 90_000);
