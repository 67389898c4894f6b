/*
 * The examples in SQL run as they stand on the demo data, and answer what is recorded beside them
 * (`npx vitest run tests/examples -u` records anew).
 */
import { readFile, readdir } from "node:fs/promises";
import { expect, test } from "vitest";
import { createDatabase } from "../support/database.ts";

const folder = new URL("../../examples/", import.meta.url);
const examples = (await readdir(folder)).filter((name) => name.endsWith(".sql"));

test.each(examples)("%s answers what is recorded", async (name) => {
  const db = await createDatabase();
  const client = await db.admin.connect();
  try {
    await db.admin.query("update public.token_plans set is_default = (plan_type = 'free')");
    await client.query(await readFile(new URL("../supabase/seed.sql", folder), "utf8"));
    const output: string[] = [];
    for (const statement of statementsOf(await readFile(new URL(name, folder), "utf8"))) {
      const { rows } = await client.query(statement);
      output.push(
        statement.trim(),
        ...rows.map((row) => masked(JSON.stringify(Object.values(row)[0], null, 2))),
        "",
      );
    }
    await expect(`${output.join("\n")}`).toMatchFileSnapshot(
      new URL(name.replace(".sql", ".out"), folder).pathname,
    );
  } finally {
    client.release();
    await db.drop();
  }
});

/** Each statement with the comment above it. */
function statementsOf(sql: string): string[] {
  return sql
    .split(/(?<=;)\n/)
    .filter((part) => /\S/.test(part))
    .map((part) => `${part}\n`);
}

/** What differs each time it is run: ids that Postgres made up, and moments. */
function masked(json: string): string {
  return json
    .replaceAll(/"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-(?!0{11})[0-9a-f]{12}"/g, '"<uuid>"')
    .replaceAll(/"\d{4}-\d\d-\d\dT[\d:.]+(\+00:00|Z)"/g, '"<moment>"');
}
