import { afterAll, beforeAll, expect, test } from "vitest";
import { readGenerated } from "../../scripts/schema/generated-file.ts";
import { describeApi } from "../../scripts/schema/api-description.ts";
import { generateReference, referenceFile } from "../../scripts/schema/reference.ts";
import { answersOfExamples, loadDemo } from "../../scripts/schema/reference/example-answers.ts";
import type { Json } from "../../scripts/schema/reference/example-calls.ts";
import { buildFromSchemas } from "../../scripts/schema/build-from-schemas.ts";
import { createDatabase, type Database } from "../support/database.ts";

let db: Database;
let answers: Map<string, Json>;
beforeAll(async () => {
  const demo = await createDatabase();
  await loadDemo(demo.admin);
  answers = await answersOfExamples(demo.url(), (await describeApi(demo.url())).functions);
  await demo.drop();
  db = await createDatabase({ template: "platform" });
  await buildFromSchemas(db.url());
});
afterAll(() => db.drop());

test("docs/reference.md says what the database says", async () => {
  const current = await generateReference(db.url(), answers);

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
    "Roles: `anon`, `authenticated`, `service_role`; GET or POST.",
  ],
  [
    "a default",
    `create or replace function public.expire_old_token_grants(p_max_accounts integer default 7)
       returns bigint language sql set search_path = '' as 'select 0::bigint'`,
    "| `p_max_accounts` | integer | `7` |",
  ],
  [
    "a table's right",
    "grant insert on public.token_usage to service_role",
    "`service_role` may insert, select.",
  ],
])("%s that changed makes it differ", async (_what, change, sentence) => {
  const before = await generateReference(db.url(), answers);
  await db.admin.query(change);
  const after = await generateReference(db.url(), answers);

  expect(before).not.toContain(sentence);
  expect(after).toContain(sentence);
});

test("a function without an example is not written down", async () => {
  await db.admin.query(
    "create function public.token_nothing() returns bigint language sql as 'select 0::bigint'",
  );

  await expect(generateReference(db.url(), answers)).rejects.toThrow("No example of token_nothing");
});
