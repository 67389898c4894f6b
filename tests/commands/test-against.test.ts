// @module-tag proof
import { stripVTControlCharacters } from "node:util";
import { expect, test } from "vitest";
import { applyMutant } from "../support/mutants.ts";
import { start } from "../support/command.ts";
import { startStack } from "../functions/stack.ts";

/** Runs the command against a stack that it knows by its address and keys only. */
async function runAgainst(mutant?: string) {
  const stack = await startStack();
  try {
    if (mutant !== undefined) await applyMutant(stack.db, mutant);
    const { publishableKey, secretKey } = stack.keys;
    const { status, stdout, stderr } = await start("scripts/test-against.ts", [
      stack.url,
      publishableKey,
      secretKey,
    ]).finished;
    const users = await stack.db.admin.query("select count(*)::int as n from auth.users");
    const said = stripVTControlCharacters(stdout);
    return { status, said, stderr, users: users.rows[0].n as number, url: stack.url };
  } finally {
    await stack.close();
  }
}

test("against another stack every trial passes; first it says what it makes, and it takes its users away", async () => {
  const { status, said, stderr, users, url } = await runAgainst();
  const tests = /Tests\s+(\d+) passed \((\d+)\)/.exec(said);
  console.log(`npm run test:against: ${tests?.[0]}`);
  expect([status, tests?.[1]], said.slice(-3_000) + stderr.slice(-2_000)).toEqual([0, tests?.[2]]);
  expect(said.indexOf(`Trials against ${url}`)).toBe(0);
  expect(said).toContain(`against ${url}`);
  expect(said).toContain("This wants a project for trial");
  expect(users).toBe(0);
}, 180_000);

test("a project whose API books the first of two objects does not pass", async () => {
  const { status, said } = await runAgainst("bodies-of-several-rows");
  expect(status).toBe(1);
  expect(said).toContain("an array of two objects");
  expect(said).toMatch(/Tests\s+\d+ failed/);
}, 180_000);

test("without keys, or with an address that is none, nothing is tried", async () => {
  for (const args of [[], ["http://127.0.0.1:1"], ["not-an-address", "a", "b"]]) {
    const { status, stderr, stdout } = await start("scripts/test-against.ts", args).finished;
    expect([status, stdout]).toEqual([2, ""]);
    expect(stderr).toContain("npm run test:against -- <url>");
  }
});
