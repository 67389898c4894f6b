/* The demo data is wrong on purpose in what the README says, and in nothing else. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { projectRoot } from "../../scripts/project.ts";
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
