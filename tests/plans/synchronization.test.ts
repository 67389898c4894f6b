import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { giveFreePlanAtRegistration } from "../support/plans.ts";
import { asAdmin, asUser, createUser, rpc } from "../support/roles.ts";

let db: Database;
let admin: string;
beforeAll(async () => {
  db = await createDatabase();
  await giveFreePlanAtRegistration(db);
  admin = await createUser(db, { admin: true });
});
afterAll(() => db.drop());

const report = async (name: string) =>
  (await asAdmin(db, admin, (client) => client.query(`select * from public.${name}()`))).rows;

test("the synchronisation check names each status, and nobody is without a balance", async () => {
  const [synced, used] = [await createUser(db), await createUser(db)];
  await asUser(db, used, (client) =>
    rpc(client, "deduct_tokens_with_fifo", { p_user_id: used, p_tokens_to_deduct: 1 }),
  );

  const rows = await report("check_token_synchronization");

  const statusOf = (id: string) => rows.find((row) => row.user_id === id)?.status;
  expect([statusOf(synced), statusOf(used)]).toEqual(["synced", "used some"]);
  expect(rows.filter((row) => row.status === "mismatch" || row.status === "no tokens yet")).toEqual([]);
  expect(await report("get_users_without_token_balance")).toEqual([]);
});

test.each(["check_token_synchronization", "get_users_without_token_balance"])(
  "%s is for admins and the server",
  async (name) => {
    const user = await createUser(db);

    await expect(
      asUser(db, user, (client) => client.query(`select * from public.${name}()`)),
    ).rejects.toMatchObject({ code: "42501" });
  },
);
