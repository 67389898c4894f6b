// @module-tag proof
/**
 * pg_cron is not here. What it does is stood in for: its place as an extension by one that Postgres brings, its
 * functions by ones of the same signature that write down what they are asked, or refuse as it does.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import pg from "pg";
import { checkInstallation } from "../../packages/tokenbook/src/data/installation.ts";
import { jobsMigration } from "../../scripts/schema/generated-migrations.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { projectRoot } from "../../scripts/project.ts";

let db: Database;
beforeEach(async () => {
  db = await createDatabase();
});
afterEach(() => db.drop());

const cron = (body: string) => `
  create schema cron;
  create table cron.job (jobname text primary key, schedule text, command text);
  create function cron.schedule(job_name text, schedule text, command text) returns bigint language plpgsql as $$
  begin ${body} return 1; end $$;`;
const keeps =
  "insert into cron.job values ($1, $2, $3) on conflict (jobname) do update set schedule = $2, command = $3;";

/** Applies the jobs with another extension in pg_cron's place, and answers what the migration reported. */
async function apply(extension: string, database = db.name): Promise<string> {
  const sql = (await readFile(join(projectRoot, jobsMigration), "utf8"))
    .replaceAll("'pg_cron'", `'${extension}'`)
    .replace("create extension pg_cron", `create extension "${extension}"`);
  const client = new pg.Client({ connectionString: db.url() });
  await client.connect();
  try {
    await client.query(`set cron.database_name = '${database}'`);
    await client.query(sql);
  } finally {
    await client.end();
  }
  const { rows } = await db.admin.query(
    "select report from tokenbook.migration_reports order by id desc limit 1",
  );
  return rows[0].report;
}

const trusted = "citext"; // this project's role may make it
const untrusted = "file_fdw"; // it may not

test("where there is no pg_cron, nothing is scheduled and the migration says so", async () => {
  expect(await apply("pg_cron")).toMatch(
    /^Not scheduled: pg_cron is not available on this server\. Nothing depends on it/,
  );
});

test("where it is there and the role may not create it, the migration says why and goes on", async () => {
  await db.admin.query(cron(keeps));

  expect(await apply(untrusted)).toMatch(
    /^Not scheduled: pg_cron is available, and postgres could not create it: permission denied to create extension "file_fdw"/,
  );
  expect((await db.admin.query("select * from cron.job")).rows).toEqual([]);
});

test("where it belongs to another database of the server, the migration says which", async () => {
  expect(await apply(trusted, "postgres")).toContain(
    `Not scheduled: pg_cron works in database postgres only (cron.database_name), this is ${db.name}.`,
  );
});

test("where it is to be had, both jobs are scheduled, and again: the same two", async () => {
  await db.admin.query(cron(keeps));

  const first = await apply(trusted);
  const second = await apply(trusted);

  expect([first, second]).toEqual([
    expect.stringMatching(/^Scheduled: /),
    expect.stringMatching(/^Scheduled: /),
  ]);
  const { rows } = await db.admin.query("select * from cron.job order by jobname");
  expect(rows).toEqual([
    { jobname: "tokenbook-arm-alerts", schedule: "* * * * *", command: "select public.arm_token_alerts()" },
    {
      jobname: "tokenbook-expire-grants",
      schedule: "*/5 * * * *",
      command: "select public.expire_old_token_grants()",
    },
  ]);
  for (const { command } of rows) await db.admin.query(command);
});

test("a job that was scheduled and is gone, as in a dump that is restored, is a warning of the doctor's", async () => {
  const jobs = async () =>
    (await checkInstallation(db.admin))
      .filter(({ subject }) => subject === "jobs")
      .map(({ status, finding }) => `${status}: ${finding}`);
  await db.admin.query(cron(keeps));
  await apply(trusted);
  const scheduled = await jobs();
  await db.admin.query("delete from cron.job where jobname = 'tokenbook-arm-alerts'");
  const halved = await jobs();
  await db.admin.query("drop schema cron cascade");

  expect(scheduled).toEqual([expect.stringMatching(/^ok: Scheduled: the sweep/)]);
  expect(halved).toEqual([expect.stringMatching(/^warning: not scheduled in this database, or not both/)]);
  expect(await jobs()).toEqual(halved);
});

test.each([
  [
    "it refuses the role",
    "raise insufficient_privilege using message = 'permission denied for schema cron';",
    "permission denied for schema cron",
  ],
  [
    "it refuses without a code",
    "raise exception 'pg_cron can only be run in its database';",
    "pg_cron can only be run",
  ],
  ["its table refuses the row", "raise unique_violation using message = 'job_pkey';", "job_pkey"],
])("where it is there and %s, no job is left by halves", async (_what, refusal, why) => {
  await db.admin.query(cron(`if $1 like '%alerts' then ${refusal} end if; ${keeps}`));

  expect(await apply(trusted)).toContain(`Not scheduled: postgres could not schedule: ${why}`);
  expect((await db.admin.query("select * from cron.job")).rows).toEqual([]);
});

test("where the extension brings no schema cron, the migration says so", async () => {
  expect(await apply(trusted)).toContain(
    'Not scheduled: postgres could not schedule: schema "cron" does not exist',
  );
});
