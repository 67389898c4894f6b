// @module-tag proof
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Client } from "pg";
import { expect, test } from "vitest";
import { projectRoot } from "../../../scripts/project.ts";
import { schemaFiles } from "../../../scripts/schema/project-files.ts";
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

/** The anchors of the schema files, and in how many places each stands. */
async function anchors(): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  for (const file of await schemaFiles()) {
    const text = await readFile(join(projectRoot, file), "utf8");
    for (const [comment, anchor] of text.matchAll(/-- @([^\s:]*).*/g)) {
      if (!comment.endsWith(" end")) found.set(anchor!, (found.get(anchor!) ?? 0) + 1);
    }
  }
  return found;
}

test("every anchor names a rule that some mutant breaks", async () => {
  const found = await anchors();
  const broken = (await everyMutant()).flatMap(([, sql]) => anchorsOf(sql));

  console.log(`anchors=${found.size} places=${[...found.values()].reduce((sum, places) => sum + places)}`);
  expect([...found.keys()].filter((anchor) => !broken.includes(anchor))).toEqual([]);
  expect([...found.keys()].filter((anchor) => !/^[a-z]+(-[a-z]+){1,3}$/.test(anchor))).toEqual([]);
});

type Mutant = readonly [name: string, sql: string];

async function everyMutant(): Promise<Mutant[]> {
  return Promise.all(
    [...(await users()).keys()].map(async (name) => [name, await mutantNamed(name)] as const),
  );
}

/** The anchors that a mutant looks for. */
const anchorsOf = (sql: string) =>
  [...sql.matchAll(/pg_temp\.mutate\(\s*'([^']*)'/g)].map(([, anchor]) => anchor!);

/**
 * What is wrong with each of these, applied and undone one after the other.
 *
 * @param change what is done to the database before
 */
async function complaints(
  mutants: readonly Mutant[],
  change?: (client: Client) => Promise<unknown>,
): Promise<string[]> {
  const db = await createDatabase();
  const client = await connectAsOwner(db);
  const found: string[] = [];
  await change?.(client);
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

test("every mutant still breaks something: each anchor is there, as often as it says", async () => {
  expect(await complaints(await everyMutant())).toEqual([]);
}, 60_000);

test("the test sees it: a mutant that breaks nothing any more", async () => {
  const wrong = (...said: string[]): Mutant => ["wrong", `select pg_temp.mutate(${said.join(", ")})`];

  expect(
    await complaints([
      wrong("'a-rule-of-nobody'", "''"),
      wrong("'clock-after'", "''"),
      wrong("'due-downgrade-first'", "''"),
      wrong("'decides-after-lock'", "''", "p_places => 2"),
      wrong("'decides-after-lock'", "'decided_at := clock_timestamp();'"),
      wrong("'decides-after-lock'", "'v_then := now();'"),
      wrong("'decides-after-lock'", "'statement_timestamp'", "'now'"),
      wrong("'past-holds-run-out'", "'p_at'", "'p_at'"),
    ]),
  ).toEqual(
    [
      "@a-rule-of-nobody is there 0 times, not 1",
      "@clock-after is there 0 times, not 1",
      "@due-downgrade-first is there 2 times, not 1",
      "@decides-after-lock is there 1 times, not 2",
      '@decides-after-lock says "decided_at := clock_timestamp();" already',
      "@decides-after-lock has no v_then",
      '@decides-after-lock says "statement_timestamp" 0 times, not once',
      '@past-holds-run-out says "p_at" 2 times, not once',
    ].map((message) => `wrong: ${message}`),
  );
});

test("mutants that follow each other at one anchor all hold", async () => {
  const db = await createDatabase();
  const client = await connectAsOwner(db);
  await client.query(mutate);
  await client.query(
    String.raw`select pg_temp.mutate('decides-after-lock', E'decided_at := now();\n  \\&');
               select pg_temp.mutate('decides-after-lock', E'\\&\n  v_cap := null;');
               select pg_temp.mutate('decides-after-lock', 'now()', 'statement_timestamp()');`,
  );
  const { rows } = await client.query<{ text: string }>(
    "select prosrc as text from pg_proc where oid = 'tokenbook.decide_spending'::regproc",
  );
  await client.end();
  await db.drop();

  expect(rows[0]!.text).toContain(
    [
      "  decided_at := statement_timestamp(); -- @decides-after-lock begin",
      "  decided_at := clock_timestamp();",
      "  v_cap := null; -- @decides-after-lock end",
      "",
    ].join("\n"),
  );
});

/**
 * Writes the functions with anchors anew without changing what they do: other names for those functions and variables that
 * no mutant names, and every line that could be wrapped otherwise is.
 */
async function rewrite(client: Client, mutants: readonly Mutant[]) {
  const said = mutants.map(([, sql]) => sql.replaceAll(/--.*/g, "")).join("\n");
  const isNamed = (name: string) => new RegExp(`\\b${name}\\b`).test(said);
  const { rows } = await client.query<{ signature: string; name: string; definition: string }>(
    `select oid::regprocedure as signature, proname as name, pg_get_functiondef(oid) as definition
       from pg_proc where pronamespace = 'tokenbook'::regnamespace and prosrc like '%-- @%'`,
  );
  const done = { functions: 0, variables: 0, lines: 0 };
  for (const { signature, name, definition } of rows) {
    const body = definition.indexOf("AS $function$");
    let text = definition
      .slice(body)
      .split("\n")
      .map((line) => {
        const wrapped = /--|'/.test(line) ? line : line.replaceAll(/ (and|or|from|:=) /g, "\n        $1 ");
        if (wrapped !== line) done.lines++;
        return wrapped;
      })
      .join("\n");
    for (const [, variable] of definition.matchAll(/^ {2}(v_\w+) /gm)) {
      if (isNamed(variable!) || !text.includes(variable!)) continue;
      text = text.replaceAll(new RegExp(`\\b${variable}\\b`, "g"), `${variable}_renamed`);
      done.variables++;
    }
    // Postgres would look into a body in SQL, whose functions may have other names by now
    await client.query(`set check_function_bodies = off; ${definition.slice(0, body)}${text}`);
    if (isNamed(name)) continue;
    await client.query(`alter function ${signature} rename to ${name}_renamed`);
    done.functions++;
  }
  return { of: rows.length, ...done };
}

test("functions and variables renamed and lines wrapped anew break no mutant", async () => {
  const mutants = await everyMutant();
  let done: unknown;

  expect(await complaints(mutants, async (client) => (done = await rewrite(client, mutants)))).toEqual([]);
  console.log(`renamed and wrapped: ${JSON.stringify(done)} mutants=${mutants.length}`);
  expect(done).toMatchObject({ functions: expect.toSatisfy((count: number) => count > 20) });
}, 60_000);

test("the test sees it: a variable renamed that mutants name", async () => {
  const found = await complaints(await everyMutant(), (client) =>
    client.query(`do $$ begin
      execute replace(pg_get_functiondef('tokenbook.decide_spending'::regproc), 'v_cap', 'v_tightest'); end $$`),
  );

  expect(found).toEqual(["caps-looked-at-before-the-lock: @caps-after-lock has no v_cap"]);
});
