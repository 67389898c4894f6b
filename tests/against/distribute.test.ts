// @module-tag proof
/** What distribute.sql changes of the functions, on one machine: the same answers. */
import { expect, test } from "vitest";
import { differences, hear, type Heard } from "../support/both.ts";
import { argumentsAbout, callablesOf, callOf } from "../support/calls.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { populateUser, type PopulatedUser } from "../support/populated-user.ts";
import { createUser } from "../support/roles.ts";
import { setTheStage } from "../support/staged-calls.ts";
import { applyLayer } from "./database-target.ts";

test("with the layer every public function answers as it does without it", async () => {
  const { db, answers } = await prepared();
  const before = await answers();
  await applyLayer(db);
  const { changed, wrong } = compare(before, await answers());
  await db.drop();
  console.log(`functions=${before.size} answered otherwise=${changed.length}`);
  expect(wrong).toEqual([]);
  expect(before.size).toBeGreaterThan(90);
});

test("the comparison sees a layer that changes an answer", async () => {
  const { db, answers } = await prepared();
  const before = await answers();
  await applyLayer(db);
  await db.admin.query(
    `create or replace function tokenbook.had_no_tokens(p_user_id uuid) returns boolean
     language plpgsql stable set search_path = pg_catalog, pg_temp as $$ begin return true; end $$`,
  );
  const { changed } = compare(before, await answers());
  await db.drop();
  console.log(`a wrong layer: answered otherwise=${changed.join(", ")}`);
  expect(changed).toContain("check_token_synchronization");
});

test("the layer says which function is not as it was when the layer was written", async () => {
  const db = await createDatabase();
  const { rows } = await db.admin.query(
    "select pg_get_functiondef('tokenbook.lock_accounts'::regproc) as definition",
  );
  await db.admin.query((rows[0].definition as string).replace("order by a.user_id", "order by 1"));
  await expect(applyLayer(db)).rejects.toThrow("tokenbook.lock_accounts is not as it was");
  await db.drop();
});

/** A database with a user of whom everything is known, and what each function says about them, nothing of it kept. */
async function prepared() {
  const db = await createDatabase();
  const user = await populateUser(db);
  const admin = await createUser(db, { admin: true });
  const own = await setTheStage({ db, user });
  const functions = (await callablesOf(db)).filter(
    ({ schema, name }) => schema === "public" && name !== "public.check_token_installation", // which tells of the layer
  );
  const answers = async () => {
    const said = new Map<string, Heard>();
    for (const fn of functions) said.set(fn.name.replace("public.", ""), await ask(db, user, admin, fn, own));
    return said;
  };
  return { db, answers };
}

async function ask(
  db: Database,
  user: PopulatedUser,
  admin: string,
  fn: Parameters<typeof callOf>[0],
  own: Awaited<ReturnType<typeof setTheStage>>,
): Promise<Heard> {
  const { sql, values } = callOf(fn, { ...argumentsAbout(user, fn), ...own[fn.name.replace("public.", "")] });
  const heard = await hear(db, { role: "service_role" }, sql, values);
  if (!("code" in heard) || heard.message !== "forbidden") return heard;
  return await hear(db, { sub: admin, role: "authenticated", app_metadata: { role: "admin" } }, sql, values);
}

function compare(before: Map<string, Heard>, after: Map<string, Heard>) {
  const wrong = [...before].flatMap(([name, heard]) =>
    differences(plain(heard), plain(after.get(name))).map((line) => `${name}${line}`),
  );
  return { wrong, changed: [...new Set(wrong.map((line) => line.split(/[/:]/)[0]!))] };
}

/** Without what is new with each call: ids, codes, moments inside a text, and the order of what is listed in none. */
const plain = (heard: Heard | undefined): unknown =>
  JSON.parse(
    JSON.stringify(heard ?? {})
      .replaceAll(/ at \d{4}-[\d:.TZ-]+/g, "")
      .replaceAll(/"(digest|code)":"[^"]*"/g, '"$1":""')
      .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, "an id"),
  );
