import { afterAll, beforeAll, expect, test } from "vitest";
import { readGenerated } from "../../scripts/schema/generated-file.ts";
import { generateReference, referenceFile } from "../../scripts/schema/reference.ts";
import { buildFromSchemas } from "../../scripts/schema/build-from-schemas.ts";
import { createDatabase, type Database } from "../support/database.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase({ template: "platform" });
  await buildFromSchemas(db.url());
});
afterAll(() => db.drop());

test("docs/reference.md says what the database says", async () => {
  const current = await generateReference(db.url());

  expect(await readGenerated(referenceFile), "run npm run reference").toBe(current);
});

test.each([
  [
    "a comment",
    "comment on column public.token_usage.model_used is 'Changed.'",
    "- `model_used` text: Changed.",
  ],
  [
    "a right",
    "grant execute on function public.get_user_storage_quota(uuid) to anon",
    "May be called by: `anon`, `authenticated`, `service_role`. Only reads: GET or POST.",
  ],
  [
    "a default",
    `create or replace function public.expire_old_token_grants(p_max_accounts integer default 7)
       returns bigint language sql set search_path = '' as 'select 0::bigint'`,
    "  p_max_accounts integer default 7\n",
  ],
  [
    "a table's right",
    "grant insert on public.token_usage to service_role",
    "`service_role` may insert, select.",
  ],
])("%s that changed makes it differ", async (_what, change, sentence) => {
  const before = await generateReference(db.url());
  await db.admin.query(change);
  const after = await generateReference(db.url());

  expect(before).not.toContain(sentence);
  expect(after).toContain(sentence);
});
