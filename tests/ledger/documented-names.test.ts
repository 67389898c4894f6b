import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

/** The rows of the page's table: kind, and the name here. */
async function names(): Promise<[kind: string, here: string][]> {
  const page = await readFile(`${root}docs/guides/older-names.md`, "utf8");
  return [
    ...page.matchAll(/^\| (file|edge function|relation|column|function) \| .* \| `([^`]+)` \|.*\|$/gm),
  ].map(([, kind, here]) => [kind!, here!]);
}

/** Whether there is such a thing. */
async function exists(kind: string, here: string): Promise<boolean> {
  if (kind === "file") return existsSync(root + here);
  if (kind === "edge function") return existsSync(`${root}supabase/functions/${here}/index.ts`);
  const sql = {
    relation: "select to_regclass('public.' || $1) is not null as there",
    function:
      "select exists (select from pg_proc where pronamespace = 'public'::regnamespace and proname = $1) as there",
    column: `select exists (
               select from pg_attribute where attrelid = to_regclass('public.' || split_part($1, '.', 1))
                  and attname = split_part($1, '.', 2) and not attisdropped) as there`,
  }[kind]!;
  return (await db.admin.query(sql, [here])).rows[0].there;
}

test('every name in the column "here" is there', async () => {
  const missing: string[] = [];
  const all = await names();
  for (const [kind, here] of all) if (!(await exists(kind, here))) missing.push(`${kind} ${here}`);

  console.log(`older names: ${all.length} looked for, ${missing.length} missing`);
  expect(missing).toEqual([]);
  expect(all.length).toBeGreaterThan(30);
});

test("what is read under its older name too can be", async () => {
  for (const relation of ["user_subscriptions", "payments", "user_storage"])
    expect(await exists("relation", relation), relation).toBe(true);
});

test("the test sees it: a name that is not there", { tags: ["proof"] }, async () => {
  expect(await exists("relation", "token_nothing")).toBe(false);
  expect(await exists("column", "token_accounts.nothing")).toBe(false);
  expect(await exists("function", "token_nothing")).toBe(false);
  expect(await exists("edge function", "nothing")).toBe(false);
});
