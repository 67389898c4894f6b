// @module-tag proof
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { createDatabase } from "../../support/database.ts";
import { mutantNamed, mutate } from "../../support/mutants.ts";
import { connectAsOwner } from "../../support/storm.ts";

const here = fileURLToPath(new URL(".", import.meta.url));
const tests = join(here, "..", "..");

/** The files that name a mutant: what it is for. */
async function users(): Promise<Map<string, string[]>> {
  const mutants = (await readdir(here)).filter((file) => file.endsWith(".sql"));
  const found = new Map(mutants.map((file) => [file.replace(/\.sql$/, ""), [] as string[]]));
  for (const file of await readdir(tests, { recursive: true })) {
    if (!file.endsWith(".ts") || join(tests, file) === fileURLToPath(import.meta.url)) continue;
    const text = await readFile(join(tests, file), "utf8");
    for (const [mutant, named] of found) if (text.includes(`"${mutant}"`)) named.push(file);
  }
  return found;
}

test("every mutant is what some test must see", async () => {
  const named = await users();

  for (const [mutant, files] of named) console.log(`${mutant.padEnd(46)} ${files.join(", ")}`);
  console.log(`mutants=${named.size}`);
  expect([...named].filter(([, files]) => files.length === 0).map(([mutant]) => mutant)).toEqual([]);
  expect(named.size).toBeGreaterThan(50);
});

/** What is wrong with each of these, applied and undone one after the other. */
async function complaints(mutants: readonly (readonly [name: string, sql: string])[]): Promise<string[]> {
  const db = await createDatabase();
  const client = await connectAsOwner(db);
  const found: string[] = [];
  await client.query(mutate);
  for (const [name, sql] of mutants) {
    await client.query("begin");
    await client.query(sql).catch((error: Error) => found.push(`${name}: ${error.message}`));
    await client.query("rollback");
  }
  await client.end();
  await db.drop();
  return found;
}

test("every mutant still breaks something: what it looks for is there exactly once", async () => {
  const names = [...(await users()).keys()];

  expect(
    await complaints(await Promise.all(names.map(async (name) => [name, await mutantNamed(name)] as const))),
  ).toEqual([]);
}, 60_000);

test("the test sees it: a mutant that looks for what nobody says any more", async () => {
  const stale = "select pg_temp.mutate('tokenbook.grant_initial_plan', 'what nobody has ever written', '')";

  expect(await complaints([["stale", stale]])).toEqual([
    'stale: tokenbook.grant_initial_plan says "what nobody has ever written" 0 times, not once',
  ]);
});
