import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { asUser, createUser, rpc } from "../support/roles.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

test("a user's storage quota is the sum of what they were given", async () => {
  const user = await createUser(db);
  const quota = () => asUser(db, user, (client) => rpc(client, "get_user_storage_quota"));
  expect(await quota()).toEqual({ total_quota_gb: 0 });

  await db.admin.query(
    "insert into public.token_storage_quotas (user_id, quota_gb) values ($1, 25), ($1, 100)",
    [user],
  );

  expect(await quota()).toEqual({ total_quota_gb: 125 });
});
