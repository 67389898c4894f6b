/* The demo data is wrong on purpose in what the README says, and in nothing else. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { projectRoot } from "../../scripts/project.ts";
import { readCatalogue } from "../../packages/tokenbook/src/prices/catalogue.ts";
import { createDatabase } from "../support/database.ts";

test("verify finds in the demo data what the README says, and nothing else", async () => {
  const db = await createDatabase();
  try {
    await db.admin.query("update public.token_plans set is_default = (plan_type = 'free')");
    await db.admin.query(await readFile(join(projectRoot, "supabase", "seed.sql"), "utf8"));
    const { rows } = await db.admin.query(
      `select u.email, v.invariant from public.verify_token_ledger() v left join auth.users u on u.id = v.user_id order by 1`,
    );
    expect(rows).toEqual([
      { email: "cost-mismatch@example.com", invariant: "I3 total cost" },
      { email: "failed-operations@example.com", invariant: "I4 usage = its transaction" },
    ]);
    const readme = await readFile(join(projectRoot, "README.md"), "utf8");
    for (const { email } of rows) expect(readme).toContain(email);
  } finally {
    await db.drop();
  }
});

test("what models cost in the demo data is what the snapshot says, and its uses have a cost", async () => {
  const db = await createDatabase();
  try {
    await db.admin.query(await readFile(join(projectRoot, "supabase", "seed.sql"), "utf8"));
    const { rows } = await db.admin.query(
      `select p.model, trim_scale(p.input_cents_per_million)::text as input_cents_per_million,
              trim_scale(p.cached_input_cents_per_million)::text as cached_input_cents_per_million,
              trim_scale(p.output_cents_per_million)::text as output_cents_per_million
         from public.token_model_prices p order by 1`,
    );
    expect(rows.length).toBe(3);
    const { wanted } = readCatalogue(undefined, ["openai", "anthropic", "google"]);
    for (const { model, ...price } of rows) expect(wanted).toContainEqual({ model, prices: price });
    const { rows: costs } = await db.admin.query(
      "select cost_estimate::float as cents from public.token_usage where model_used in ('gpt-5-mini', 'claude-sonnet-4-5') order by 1",
    );
    expect(costs).toEqual([{ cents: 2.225 }, { cents: 7.2 }]);
  } finally {
    await db.drop();
  }
});
