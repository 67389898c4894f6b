import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runHere } from "../../support/command.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { expectCleanBooks } from "../../support/books.ts";
import { giveFreePlanAtRegistration } from "../../support/plans.ts";
import { loadScenarios, parts, settings, type Users } from "./six-steps.ts";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const guide = `${root}docs/guides/reconciliation.md`;
const PUBLISHED = "d15c0000-0000-4000-8000-000000000001";

/** As the reader goes through the guide, repairs and all. */
let db: Database;
/** As it was before any repair. */
let broken: Database;
/** A project before the clean-up. */
let old: Database;
let oldUsers: Users;
beforeAll(async () => {
  [db, broken] = await Promise.all([brokenDemo(), brokenDemo()]);
  old = await createDatabase({ template: "platform" });
  oldUsers = await loadScenarios(old);
});
afterAll(() => Promise.all([db.drop(), broken.drop(), old.drop()]));

async function brokenDemo(): Promise<Database> {
  const database = await createDatabase();
  await giveFreePlanAtRegistration(database);
  await database.admin.query(await readFile(`${root}supabase/seed.sql`, "utf8"));
  await database.admin.query(await readFile(`${root}scripts/sql/broken-books.sql`, "utf8"));
  return database;
}

/** What the command prints: reconciling as a reader who follows the guide, restating as before any repair. */
async function run(command: string): Promise<string> {
  const [, name, args] = /^npm run --silent (reconcile|restate)(?: -- (.*))?$/.exec(command)!;
  const where = name === "restate" ? broken : db;
  const { stdout } = await runHere(name!, args?.split(" ") ?? [], { SUPABASE_DB_URL: where.url() });
  return stdout.trim().replace(/(?<=users? of )127\S+(?=:)/, "the local database (127.0.0.1:54322/postgres)");
}

/** What asks on a terminal. */
const isAsked = (command: string) => / --book /.test(command);

/** A result as psql shows it: aligned, or a line a column where that would be too wide. */
function shown({ fields, rows }: pg.QueryResult): string {
  if (rows.length === 0) return "(0 rows)";
  const text = (value: unknown) =>
    value === null
      ? ""
      : value instanceof Date
        ? value.toISOString().slice(0, 10)
        : Array.isArray(value)
          ? value.join(", ")
          : typeof value === "object"
            ? JSON.stringify(value)
            : String(value);
  const names = fields.map((field) => field.name);
  const cells = rows.map((row) => names.map((name) => text(row[name])));
  const isNumber = fields.map((field) => [20, 23, 1700].includes(field.dataTypeID));
  const widths = names.map((name, i) => Math.max(name.length, ...cells.map((row) => row[i]!.length)));
  if (widths.reduce((sum, width) => sum + width + 3, 0) > 175) {
    const widest = Math.max(...names.map((name) => name.length));
    return cells
      .map((row) => names.map((name, i) => `${name.padEnd(widest)} | ${row[i]}`.trimEnd()).join("\n"))
      .join("\n\n");
  }
  const line = (row: string[]) =>
    row
      .map((cell, i) => (isNumber[i] ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
      .join(" | ")
      .trimEnd();
  return [line(names), widths.map((width) => "-".repeat(width)).join("-+-"), ...cells.map(line)].join("\n");
}

async function query(where: Database, sql: string): Promise<string> {
  const client = await where.admin.connect();
  try {
    const results = [(await client.query(sql)) as unknown as pg.QueryResult | pg.QueryResult[]].flat();
    return shown(results.at(-1)!);
  } finally {
    client.release(true);
  }
}

/** Days and random ids are another each time. */
const withoutChance = (text: string) =>
  text.replace(/\d{4}-\d\d-\d\d/g, "<day>").replace(/\b[0-9a-f]{8}-[0-9a-f-]{27}\b/g, "<id>");

test("the guide's commands and queries print what the guide says", async () => {
  const written = await readFile(guide, "utf8");
  const blocks = /^```(console|sql|text)(?: (\S+))?\n([\s\S]*?)^```$/gm;
  let sql = "";
  let followed = 0;
  let current = "";
  let end = 0;
  for (const block of written.matchAll(blocks)) {
    const [whole, language, what, body] = block as unknown as [string, string, string | undefined, string];
    let output: string | undefined;
    if (language === "sql") sql = body;
    if (language === "console") {
      const command = body.split("\n")[0]!;
      if (!isAsked(command)) output = `${command}\n${await run(command.slice(2))}`;
    }
    if (language === "text") {
      const [kind, nth] = what?.split("-") ?? [];
      if (kind === undefined) output = await query(db, sql);
      else if (kind === "step") output = await query(broken, settings(PUBLISHED, {}) + parts[Number(nth)]!);
      else output = await query(old, settings(oldUsers.published, {}) + parts[Number(nth)]!);
    }
    current += written.slice(end, block.index);
    end = block.index + whole.length;
    if (output === undefined) current += whole;
    else {
      followed++;
      current +=
        withoutChance(`${output}\n`) === withoutChance(body)
          ? whole
          : `\`\`\`${language}${what ? ` ${what}` : ""}\n${output}\n\`\`\``;
    }
  }
  current += written.slice(end);

  console.log(`guide: outputs followed=${followed} as written=${current === written}`);
  expect(followed).toBeGreaterThan(15);
  // `npx vitest run tests/audit/reconcile/guide.test.ts -u` writes what they print now
  await expect(current).toMatchFileSnapshot(guide);
  await expectCleanBooks(db);
});
