/** What is due to a user, and not booked, is told to them, to admins and to the server, and to nobody else. */
import { expect, test } from "vitest";
import { takeTheClock } from "../../support/clock.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { applyMutant } from "../../support/mutants.ts";
import { asAdmin, asService, asUser, createUser, type Work } from "../../support/roles.ts";
import { setPlan, userOn } from "./schedules.ts";

/** What each of those who may call the function is told of one user, to whom 40 tokens are due. */
async function toldOfDues(mutant?: string): Promise<Record<string, number>> {
  const db = await createDatabase();
  if (mutant !== undefined) await applyMutant(db, mutant);
  const setClock = await takeTheClock(db);
  await setPlan(db, "daily", { tokens: 40, issue_every: "day", grant_lifetime_days: 1 });
  await setClock("2026-01-05T00:00:00Z");
  const user = await userOn(db, "daily");
  const stranger = await createUser(db);
  const admin = await createUser(db, { admin: true });
  const former = await createUser(db, { admin: true });
  await db.admin.query("update auth.users set deleted_at = now() where id = $1", [former]);
  await setClock("2026-01-06T12:00:00Z");

  const ask: Work<number> = async (client) =>
    (await client.query("select tokenbook.slot_tokens_due($1)::int as due", [user])).rows[0].due;
  const told = {
    "the user": await asUser(db, user, ask),
    "an admin": await asAdmin(db, admin, ask),
    "the server": await asService(db, ask),
    "another user": await asUser(db, stranger, ask),
    "nobody, signed in": await asUser(db, { role: "authenticated" }, ask),
    "an admin who was deleted": await asAdmin(db, former, ask),
    "a role of the project": await asRoleOfTheProject(db, ask),
  };
  await db.drop();
  return told;
}

/** A role that a project has made and let in, as for its reports; gone again with the transaction. */
async function asRoleOfTheProject<T>(db: Database, work: Work<T>): Promise<T> {
  const client = await db.admin.connect();
  try {
    await client.query(`begin; create role reports_of_a_project; grant reports_of_a_project to current_user;
      grant usage on schema tokenbook to reports_of_a_project;
      grant execute on function tokenbook.slot_tokens_due to reports_of_a_project;
      set local role reports_of_a_project`);
    return await work(client);
  } finally {
    await client.query("rollback");
    client.release();
  }
}

test("what is due is told to the user, to admins and to the server; every other caller is told 0", async () => {
  expect(await toldOfDues()).toEqual({
    "the user": 40,
    "an admin": 40,
    "the server": 40,
    "another user": 0,
    "nobody, signed in": 0,
    "an admin who was deleted": 0,
    "a role of the project": 0,
  });
});

test("the test sees it: dues of anybody", { tags: ["proof"] }, async () => {
  expect(await toldOfDues("dues-of-anybody")).toMatchObject({
    "another user": 40,
    "an admin who was deleted": 40,
    "a role of the project": 40,
  });
});
