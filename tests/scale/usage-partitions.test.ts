// @module-tag proof
/** `tokenbook partition --usage`: the usage in partitions by time, while it is being written. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterEach, beforeEach, expect, test } from "vitest";
import { begin, compare, copy, planByTime, usage } from "../../packages/tokenbook/src/data/partitions.ts";
import { breaches, grant } from "../support/books.ts";
import { run, runHere } from "../support/command.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { expectSoundInstallation } from "../support/installation.ts";
import { asService, asUser, createUser, rpc } from "../support/roles.ts";
import { storm } from "../support/storm.ts";
import { letTimePass } from "../support/time.ts";

let db: Database;
let users: string[];
let owner: pg.Client;
beforeEach(async () => {
  db = await createDatabase();
  users = await Promise.all(Array.from({ length: 6 }, () => createUser(db)));
  for (const user of users) await grant(db, user, 100_000);
  owner = new pg.Client({ connectionString: db.url("postgres") });
  owner.on("error", () => {}); // a trial that fails drops its database
  await owner.connect();
});
afterEach(async () => {
  await owner.end();
  await db.drop();
});

const partition = async (...args: string[]) => {
  const done = await runHere("partition", ["--usage", ...args, "--json"], {
    SUPABASE_DB_URL: db.url("postgres"),
  });
  return { ...done, said: done.stdout === "" ? undefined : JSON.parse(done.stdout) };
};
const names = async () =>
  (
    await owner.query<{ name: string }>(
      "select i.inhrelid::regclass::text as name from pg_inherits i where i.inhparent = 'public.token_usage'::regclass order by 1",
    )
  ).rows.map(({ name }) => name.replace("tokenbook.token_usage_", ""));
const all = async (): Promise<string[]> =>
  (await owner.query("select u::text as use from public.token_usage u order by u.user_id, u.id")).rows.map(
    ({ use }) => use as string,
  );
const track = (user: string, key: string) =>
  asService(db, (client) =>
    rpc(client, "track_token_usage", {
      p_user_id: user,
      p_action_type: "chat_conversation",
      p_tokens_used: 3,
      p_idempotency_key: key,
    }),
  );
/** Uses of before the books, in each of the last so many months. */
const old = (months: number) =>
  owner.query(
    `insert into public.token_usage (user_id, action_type, created_at)
     select u, 'chat_conversation', date_trunc('month', now()) - make_interval(months => month) + make_interval(days => day)
       from unnest($1::uuid[]) u, generate_series(1, $2) month, generate_series(1, 20) day`,
    [users, months],
  );
/** Calls from six connections, until it is ended; then whether each that was answered is there. */
function write() {
  const isOver = new AbortController();
  const acknowledged: { user: string; id: string }[] = [];
  const writing = storm(db, {
    connections: 6,
    attempts: 1_000_000,
    until: isOver.signal,
    async run(client, attempt) {
      const user = users[attempt % users.length]!;
      const receipt = await rpc(client, "track_token_usage", {
        p_user_id: user,
        p_action_type: "chat_conversation",
        p_tokens_used: 2,
        p_idempotency_key: `call-${attempt}`,
      });
      acknowledged.push({ user, id: receipt.usage_id as string });
      // a use is updated, too
      if (attempt % 50 === 0) await rpc(client, "forget_token_user", { p_user_id: user });
      return "tracked";
    },
  });
  return {
    end: () => isOver.abort(),
    async areAllThere(): Promise<number> {
      const { mix } = await writing;
      console.log(`calls=${acknowledged.length} mix=${JSON.stringify(mix)}`);
      expect(Object.keys(mix)).toEqual(["tracked"]);
      expect(acknowledged.length).toBeGreaterThan(100);
      const { rows: missing } = await owner.query(
        `select a.* from jsonb_to_recordset($1) as a ("user" uuid, id uuid)
          where not exists (select from public.token_usage u where u.user_id = a."user" and u.id = a.id)`,
        [JSON.stringify(acknowledged)],
      );
      expect(missing).toEqual([]);
      return acknowledged.length;
    },
  };
}
/** The label of the month that is so many before this one. */
const month = async (before: number): Promise<string> =>
  (
    await owner.query(
      "select to_char((now() at time zone 'UTC') - make_interval(months => $1), 'YYYY_MM') as label",
      [before],
    )
  ).rows[0].label;

test("split by month under load: no call fails, no use is lost, and the doctor finds nothing", async () => {
  await old(14);
  const before = await all();
  const writing = write();
  try {
    for (const by of ["year", "month"]) {
      const { status, stdout, stderr } = await run("partition", ["--usage", "--by", by, "--yes", "--json"], {
        SUPABASE_DB_URL: db.url("postgres"),
      });
      expect(status, stderr).toBe(0);
      console.log(`by ${by}: ${stdout.replaceAll(/\s+/g, " ")}`);
    }
  } finally {
    writing.end();
  }
  const calls = await writing.areAllThere();
  expect(await names()).toContain(`since_${await month(0)}`);
  const [{ uses }] = (await owner.query("select count(*)::int as uses from public.token_usage")).rows;
  expect(uses).toBe(before.length + calls);
  expect(await breaches(db)).toEqual([]);
  await expectSoundInstallation(db);
});

test("only the last partition is split, and again what has grown since; there is one for whatever comes", async () => {
  expect((await partition("--by", "month")).said).toEqual({ partitions: 1, changed: false });
  await old(3);
  const before = await all();
  expect((await partition("--by", "month", "--yes")).said).toMatchObject({ partitions: 4, changed: true });
  expect(await names()).toEqual(
    [`${await month(2)}`, `${await month(1)}`, `since_${await month(0)}`, `until_${await month(2)}`].sort(),
  );
  expect(await all()).toEqual(before);
  expect((await partition("--by", "month", "--yes")).said).toEqual({ partitions: 4, changed: false });

  // as if the last had begun three months ago: it alone is copied
  const kept = await owner.query(
    "select 'tokenbook.token_usage_until_" + (await month(2)) + "'::regclass::oid as oid",
  );
  await owner.query("set timezone = 'UTC'");
  for (const name of [await month(2), await month(1), `since_${await month(0)}`])
    await owner.query(`alter table public.token_usage detach partition tokenbook.token_usage_${name}`);
  await owner.query(
    `create table tokenbook.token_usage_since_${await month(2)} partition of public.token_usage
       for values from ('${(await month(2)).replace("_", "-")}-01') to (maxvalue)`,
  );
  for (const name of [await month(2), await month(1), `since_${await month(0)}`]) {
    await owner.query(`insert into public.token_usage select * from tokenbook.token_usage_${name}`);
    await owner.query(`drop table tokenbook.token_usage_${name}`);
  }
  await owner.query("select tokenbook.declare_shape()");
  expect(await names()).toHaveLength(2);
  expect((await partition("--by", "month", "--yes")).said).toMatchObject({ partitions: 4, changed: true });
  expect(await all()).toEqual(before);
  expect(
    (await owner.query("select 'tokenbook.token_usage_until_" + (await month(2)) + "'::regclass::oid as oid"))
      .rows,
  ).toEqual(kept.rows);

  // years later there is one still
  await owner.query(
    "insert into public.token_usage (user_id, action_type, created_at) values ($1, 'chat_conversation', '2190-01-01')",
    [users[0]],
  );
  const told = await partition();
  expect(told.said).toMatchObject({ partitions: 4, begun: null, parts: expect.any(Array) });
  await track(users[0]!, "after-it");
  expect(await track(users[0]!, "after-it")).toMatchObject({ replayed: true, tokens_used: 3 });
  await expectSoundInstallation(db);
});

/** Every use as it is told, without what forget_token_user takes away. */
const booked = async (before: string): Promise<string[]> =>
  (
    await owner.query(
      `select (to_jsonb(u) - '{metadata,error_message}'::text[])::text as use from public.token_usage u
        where u.created_at < $1::timestamptz order by u.user_id, u.id`,
      [before],
    )
  ).rows.map(({ use }) => use as string);
const bytes = async (): Promise<number> =>
  (await partition()).said.parts.reduce((sum: number, part: { bytes: number }) => sum + part.bytes, 0);

test("what an archive took out gives its disk back: old partitions become one under load, and the archive is put back into it", async () => {
  for (let nth = 0; nth < 2; nth++) {
    await storm(db, {
      connections: 4,
      attempts: 1_000,
      run: async (client, attempt) => {
        await rpc(client, "track_token_usage", {
          p_user_id: users[attempt % users.length],
          p_action_type: "chat_conversation",
          p_tokens_used: 1,
          p_metadata: { words: "of some length ".repeat(20) },
        });
        return "tracked";
      },
    });
    for (const user of users) await letTimePass(db, user, 35);
  }
  await old(4); // booked by nobody: no archive takes them
  await partition("--by", "month", "--yes");
  expect((await names()).length).toBeGreaterThan(4);
  const firstDay = `${(await month(0)).replace("_", "-")}-01`;
  const [before, size] = [await booked(firstDay), await bytes()];
  const folder = await mkdtemp(join(tmpdir(), "joined-"));
  const archive = async (file: string, ...args: string[]) => {
    const done = await runHere("archive", [join(folder, file), ...args, "--yes", "--json"], {
      SUPABASE_DB_URL: db.url("postgres"),
    });
    expect(done.status, done.stderr).toBe(0);
    return JSON.parse(done.stdout);
  };

  const { archived } = await archive("first", "--before", firstDay);
  expect(archived).toBe(2_000);
  const kept = await booked(firstDay);
  expect(kept).toHaveLength(before.length - archived);
  expect(await bytes()).toBe(size);
  const writing = write();
  try {
    const { status, stdout, stderr } = await run(
      "partition",
      ["--usage", "--join", firstDay, "--yes", "--json"],
      {
        SUPABASE_DB_URL: db.url("postgres"),
      },
    );
    expect(status, stderr).toBe(0);
    console.log(`joined: ${stdout.replaceAll(/\s+/g, " ")}`);
    expect(JSON.parse(stdout)).toMatchObject({ partitions: 2, uses: kept.length });
  } finally {
    writing.end();
  }
  await writing.areAllThere();
  const label = await month(0);
  expect(await names()).toEqual([`since_${label}`, `until_${label}`]);
  expect(await booked(firstDay)).toEqual(kept);
  const { rows } = await owner.query(
    "select pg_total_relation_size('tokenbook.token_usage_until_" + label + "') as bytes",
  );
  console.log(`bytes of old usage: ${size} before, ${rows[0].bytes} after`);
  expect(Number(rows[0].bytes)).toBeLessThan(size / 3);
  expect(await breaches(db)).toEqual([]);
  await expectSoundInstallation(db);

  expect(await archive("first", "--restore")).toMatchObject({ restored: archived });
  expect(await booked(firstDay)).toEqual(before);
  // and once more: the partition of that name is in its own place
  const again = await runHere("archive", [join(folder, "second"), "--before", firstDay, "--yes"], {
    SUPABASE_DB_URL: db.url("postgres"),
  });
  expect(again.stdout).toContain(`npx tokenbook partition --usage --join ${firstDay}`);
  expect((await partition("--join", firstDay, "--yes")).said).toMatchObject({ partitions: 2, changed: true });
  expect(await names()).toEqual([`since_${label}`, `until_${label}`]);
  expect(await booked(firstDay)).toEqual(kept);
  expect(await breaches(db)).toEqual([]);
  await expectSoundInstallation(db);
  await rm(folder, { recursive: true });
});

test("a partition that is detached by hand is missed by the verifier, and by nobody once it is attached again", async () => {
  for (const user of users) await track(user, "long-ago");
  for (const user of users) await letTimePass(db, user, 35);
  await partition("--by", "month", "--yes");
  const name = (await names()).find((part) => part.startsWith("until_"))!;
  const table = `tokenbook.token_usage_${name}`;
  await owner.query("set timezone = 'UTC'");
  const end = `${name.replace("until_", "").replace("_", "-")}-01`;
  const missed = async () =>
    (await owner.query("select distinct user_id from public.verify_token_ledger()")).rows.map(
      ({ user_id }) => user_id as string,
    );

  await owner.query(`alter table public.token_usage detach partition ${table}`);
  expect((await missed()).sort()).toEqual(users.toSorted());
  await owner.query(
    `alter table public.token_usage attach partition ${table} for values from (minvalue) to ('${end}')`,
  );
  expect(await missed()).toEqual([]);
  await expectSoundInstallation(db);
});

test("stopped after each step, the same command goes on; partitions that miss a use are never put in place", async () => {
  await old(2);
  const plan = async () => (await planByTime(owner, "month"))!;
  await begin(owner, usage, await plan());
  await track(users[0]!, "after-it-was-begun");
  expect((await partition()).said).toMatchObject({ partitions: 1, begun: 3 });
  expect((await partition("--by", "year", "--yes")).stderr).toContain(
    "Another change, to 3 partitions, was begun",
  );
  expect((await copy(owner, usage).next()).value).toBe(0);
  await track(users[1]!, "while-it-was-copied");
  for await (const _ of copy(owner, usage));
  await compare(owner, usage, () => {}); // right until then
  const whole = await all();

  // known-bad: what is written is not copied
  await owner.query("alter table public.token_usage disable trigger token_usage_are_copied");
  await track(users[2]!, "that-is-not-copied");
  const refused = await partition("--by", "month", "--yes");
  expect([refused.status, refused.stderr]).toEqual([1, expect.stringContaining("The usage has")]);
  expect(await names()).toEqual(["all"]);
  expect(await all()).toHaveLength(whole.length + 1);
  expect((await partition("--cancel")).said).toEqual({ partitions: 1, cancelled: 3 });
  await expectSoundInstallation(db);

  await begin(owner, usage, await plan());
  for await (const _ of copy(owner, usage));
  expect((await partition("--by", "month", "--yes")).said).toMatchObject({ partitions: 3, changed: true });
  expect(await all()).toHaveLength(whole.length + 1);
  await expectSoundInstallation(db);
});

test.each([
  ["", 3],
  ["partitions-declare-everything", 0],
])("what was not as it was made before is still found afterwards (variant %s: %i)", async (mutant, left) => {
  if (mutant !== "") await applyMutant(db, mutant);
  await owner.query(
    "alter table public.token_transactions disable trigger token_transactions_keep_append_only",
  );
  await owner.query("drop trigger token_balances_are_sound on public.token_balances");
  await owner.query("drop index public.token_usage_user_idx");
  await old(2);
  expect((await partition("--by", "month", "--yes")).said).toMatchObject({ partitions: 3, changed: true });
  const { rows } = await owner.query(
    "select finding from public.check_token_installation() where status = 'fault' and finding ~ 'token_(transactions_keep|balances_are|usage_user)'",
  );
  expect(rows).toHaveLength(left);
});

test("stopped in another time zone it goes on; a hole in time, and a name that is taken, are said before", async () => {
  await old(3);
  await owner.query(`alter database ${db.name} set timezone = 'Asia/Kolkata'`);
  await begin(owner, usage, (await planByTime(owner, "month"))!);
  expect((await partition("--by", "month", "--yes")).said).toMatchObject({ partitions: 4, changed: true });
  expect((await partition()).said.parts.at(0).name).toContain("until_");
  const firstDay = `${(await month(0)).replace("_", "-")}-01`;
  const first = `tokenbook.token_usage_until_${await month(2)}`;

  await owner.query(`alter table public.token_usage detach partition ${first}`);
  const hole = await partition("--join", firstDay, "--yes");
  expect([hole.status, hole.stderr]).toEqual([1, expect.stringContaining("attach it again first")]);
  await owner.query("set timezone = 'UTC'");
  await owner.query(
    `alter table public.token_usage attach partition ${first}
       for values from (minvalue) to ('${(await month(2)).replace("_", "-")}-01')`,
  );

  await owner.query(`create table tokenbook.token_usage_until_${await month(0)} (id int)`);
  const taken = await partition("--join", firstDay, "--yes");
  expect([taken.status, taken.stderr]).toEqual([1, expect.stringContaining("There is a table")]);
  expect((await partition()).said).toMatchObject({ partitions: 4, begun: null });
});

test("a test clock waits for the end of a change; the trial sees clocks-run-while-partitions-change", async () => {
  await old(2);
  await track(users[0]!, "before");
  await owner.query("insert into tokenbook.test_users (user_id) values ($1)", [users[0]]);
  await begin(owner, usage, (await planByTime(owner, "month"))!);
  const pass = () => owner.query("select tokenbook.advance_test_clock($1, '40 days')", [users[0]]);
  await expect(pass()).rejects.toThrow("not_a_test_user");
  await applyMutant(db, "clocks-run-while-partitions-change");
  await pass().catch(() => {}); // of one use it may move both, of many it does not
  await expect(compare(owner, usage, () => {})).rejects.toThrow();
});

test("nobody but the owner reads a partition, whatever is given away by default", async () => {
  await owner.query("alter default privileges in schema tokenbook grant select on tables to authenticated");
  await old(2);
  await partition("--by", "month", "--yes");
  for (const name of await names())
    await expect(
      asUser(db, users[0]!, (client) => client.query(`select from tokenbook.token_usage_${name}`)),
    ).rejects.toThrow(/permission denied/);
  await track(users[0]!, "mine");
  const { rows } = await asUser(db, users[0]!, (client) =>
    client.query("select user_id from public.token_usage"),
  );
  expect(new Set(rows.map((row: { user_id: string }) => row.user_id))).toEqual(new Set([users[0]]));
});

test("what does not go together is refused", async () => {
  for (const args of [
    ["3"],
    ["--by", "day"],
    ["--by", "month", "--join", "2020-01-01"],
    ["--join", "2999-01-01"],
    ["--join", "2026-02-30"],
  ])
    expect((await partition(...args)).status, args.join(" ")).not.toBe(0);
  for (const args of [
    ["--by", "month"],
    ["--join", "2020-01-01"],
  ]) {
    const { status } = await runHere("partition", args, { SUPABASE_DB_URL: db.url("postgres") });
    expect(status, args.join(" ")).toBe(1);
  }
  expect((await partition("--join", "2020-01-01", "--yes")).said).toEqual({ partitions: 1, changed: false });
  await owner.query(
    "insert into public.token_usage (user_id, action_type, created_at) values ($1, 'chat_conversation', '1990-01-01')",
    [users[0]],
  );
  expect((await partition("--by", "month", "--yes")).stderr).toContain("200 are the most");
});
