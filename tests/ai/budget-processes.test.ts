// @module-tag proof
/** A task of many calls at once in several processes, some of which are killed, with one budget. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { createClient } from "@supabase/supabase-js";
import ws from "ws";
import { afterAll, beforeAll, expect, test } from "vitest";
import { tokenBudget } from "../../packages/tokenbook/src/ai/index.ts";
import { startStack, type Stack } from "../functions/stack.ts";
import { expectCleanBooks, grant } from "../support/books.ts";
import { diceFor, seed } from "../support/dice.ts";
import { applyMutant } from "../support/mutants.ts";
import { createUser } from "../support/roles.ts";
import { letTimePass } from "../support/time.ts";
import { modelOf, type Provider, startProvider } from "./provider.ts";

const rounds = Number(process.env["ROUNDS"] ?? 2);
const [processes, parallel, size] = [6, 10, 9_000];
const worker = fileURLToPath(new URL("budget-worker.ts", import.meta.url));
const second = 1 / 86_400;

let stack: Stack;
let provider: Provider;
beforeAll(async () => {
  stack = await startStack();
  provider = await startProvider();
});
afterAll(async () => {
  await stack.close();
  await provider.close();
});

interface Worker {
  child: ChildProcess;
  lines: string[];
  gone: Promise<unknown>;
}

function start(userId: string, budget: string): Worker {
  const child = spawn(
    process.execPath,
    [
      "--import",
      "tsx",
      worker,
      stack.url,
      stack.keys.secretKey,
      provider.url,
      userId,
      budget,
      modelOf("runs", 20, 10),
      String(parallel),
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const lines: string[] = [];
  createInterface(child.stdout!).on("line", (line) => lines.push(line));
  return { child, lines, gone: once(child, "close") };
}

const standing = async (budget: string) => {
  const { rows } = await stack.db.admin.query<{ left: number; used: number; open: number }>(
    `select p.tokens::int as left, p.children_captured::int as used,
            (select count(*)::int from public.token_holds h where h.parent_id = p.id and h.status = 'open') as open
       from public.token_holds p where p.id = $1`,
    [budget],
  );
  return rows[0]!;
};

/** Tasks in several processes of which most are killed, and what was found of them. */
async function tasks(times: number) {
  const dice = diceFor(65);
  const books = createClient(stack.url, stack.keys.secretKey, { realtime: { transport: ws as never } });
  const mix: Record<string, number> = {};
  const found = { calls: 0, killed: 0, left_open: 0, leaks: 0, beyond: 0 };
  for (let time = 0; time < times; time++) {
    const userId = await createUser(stack.db);
    await grant(stack.db, userId, 4_000);
    await grant(stack.db, userId, 16_000);
    const budget = await tokenBudget(books, { userId, tokens: size, ttlSeconds: 600 });

    const workers = Array.from({ length: processes }, () => start(userId, budget.holdId));
    for (const victim of workers.slice(0, 4)) {
      const isAtWork = () => victim.lines.some((line) => line.startsWith("paid"));
      while (!isAtWork() && victim.child.exitCode === null) await sleep(20);
      await sleep(dice.below(400));
      if (victim.child.kill("SIGKILL")) found.killed++;
    }
    await Promise.all(workers.map(({ gone }) => gone));
    found.left_open += (await standing(budget.holdId)).open;

    // what the dead had is the budget's again, when it has run out
    await letTimePass(stack.db, userId, 61 * second);
    const last = start(userId, budget.holdId);
    await last.gone;
    const { left, used, open } = await standing(budget.holdId);
    if (open > 0 || left >= 40) found.leaks++;
    if (used > size) found.beyond++;

    await letTimePass(stack.db, userId, 601 * second);
    const { data } = await books.rpc("get_user_token_balance", { p_user_id: userId });
    if (data.total_active !== 20_000 - used || data.total_reserved !== 0) found.leaks++;
    found.calls += used / 30;
    for (const line of [...workers, last].flatMap(({ lines }) => lines)) mix[line] = (mix[line] ?? 0) + 1;
  }
  const figures = Object.entries(found).map(([name, count]) => `${name}=${count}`);
  console.log(
    `budgets: tasks=${times} processes=${processes} at_once=${processes * parallel} ${figures.join(" ")} seed=${seed} mix=${JSON.stringify(mix)}`,
  );
  return { found, mix };
}

test("many calls at once in several processes, killed at random, cost no more than their budget, and leave nothing behind", async () => {
  const { found, mix } = await tasks(rounds);
  expect([found.leaks, found.beyond]).toEqual([0, 0]);
  expect(found.killed).toBeGreaterThan(0);
  const usual = /^(ready|paid \d+|refused 402 parent_hold_short)$/;
  expect(Object.keys(mix).filter((it) => !usual.test(it))).toEqual([]);
  await expectCleanBooks(stack.db);
}, 240_000);

test("the test sees it: budgets that keep what they have passed on", async () => {
  await applyMutant(stack.db, "parents-end-for-their-children");
  expect((await tasks(1)).found.leaks).toBeGreaterThan(0);
}, 120_000);
