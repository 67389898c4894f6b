import { afterAll, beforeAll, expect, test } from "vitest";
import { generateTypes, typesFile } from "../../scripts/schema/database-types.ts";
import { readGenerated } from "../../scripts/schema/generated-file.ts";
import { generateLists, listsFile } from "../../scripts/schema/lists.ts";
import { buildFromSchemas } from "../../scripts/schema/build-from-schemas.ts";
import { createDatabase, type Database } from "../support/database.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase({ template: "platform" });
  await buildFromSchemas(db.url());
});
afterAll(() => db.drop());

test("the edge functions' types are those of the database", async () => {
  const current = await generateTypes(db.url());

  expect(await readGenerated(typesFile), "run npm run types").toBe(current);
});

test("the edge functions' lists are those of the database", async () => {
  expect(await readGenerated(listsFile), "run npm run types").toBe(await generateLists(db.url()));
});

test("a changed limit makes them differ", async () => {
  await db.admin.query(
    `create or replace function tokenbook.limits() returns jsonb language sql as $$ select '{"batch_items": 7}'::jsonb $$`,
  );

  expect(await generateLists(db.url())).not.toBe(await readGenerated(listsFile));
});

test("a changed parameter makes them differ", async () => {
  await db.admin.query("drop function public.get_user_storage_quota(uuid)");

  const changed = await generateTypes(db.url());

  expect(changed).not.toContain("get_user_storage_quota");
  expect(changed).not.toBe(await readGenerated(typesFile));
});
