/** A project that gives a role of its own rights on whatever is made, and puts the API's roles into that role. */
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildFromSchemas } from "../../scripts/schema/build-from-schemas.ts";
import { createDatabase, type Database } from "../support/database.ts";

const role = `stranger_${randomBytes(6).toString("hex")}`;
let db: Database;
beforeAll(async () => {
  db = await createDatabase({ template: "platform" });
  await db.admin.query(`create role ${role} nologin`);
  for (const kind of ["tables", "sequences", "functions", "schemas"])
    await db.admin.query(`alter default privileges grant all on ${kind} to ${role}`);
  await db.admin.query("create table public.of_the_app (id integer)");
  await buildFromSchemas(db.url());
});
afterAll(async () => {
  const platform = await createDatabase({ template: "platform" });
  await db.drop();
  await platform.admin.query(`drop role ${role}`); // the roles are the whole server's
  await platform.drop();
});

/** What of it the role, or PUBLIC, has a right on. */
const open = async () =>
  (
    await db.admin.query(
      `select 'schema ' || n.nspname as name from pg_namespace n
        cross join lateral aclexplode(n.nspacl) a
        where n.nspname = 'tokenbook' and a.grantee in (0, $1::regrole)
       union
       select c.oid::regclass::text from pg_class c cross join lateral aclexplode(c.relacl) a
        where c.relnamespace in ('tokenbook'::regnamespace, 'public'::regnamespace) and a.grantee in (0, $1::regrole)
       union
       select p.oid::regprocedure::text from pg_proc p
        cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
        where p.pronamespace in ('tokenbook'::regnamespace, 'public'::regnamespace) and a.grantee in (0, $1::regrole)
       order by 1`,
      [role],
    )
  ).rows.map(({ name }) => name);

test("the role has no right on anything of ours, and keeps what is the project's", async () => {
  expect(await open()).toEqual(["of_the_app"]);
});

test("the test sees it: what is granted to the role", { tags: ["proof"] }, async () => {
  await db.admin.query(`grant usage on schema tokenbook to ${role};
    grant insert on public.token_accounts to ${role};
    grant execute on function public.grant_tokens to ${role}`);
  expect(await open()).toHaveLength(4);
});
