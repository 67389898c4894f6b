import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { grant } from "../../support/books.ts";
import { run, start } from "../../support/command.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { createUser } from "../../support/roles.ts";

let db: Database;
let env: NodeJS.ProcessEnv;
/** In the order of their ids. */
let users: string[];
beforeAll(async () => {
  db = await createDatabase();
  env = { SUPABASE_DB_URL: db.url() };
  users = (await Promise.all(Array.from({ length: 30 }, () => createUser(db)))).sort();
  for (const user of users) await grant(db, user, 100);
});
afterAll(() => db.drop());
beforeEach(async () => {
  await db.admin.query("update public.token_accounts set tokens_owed = 0");
});

const owing = (...nths: number[]) =>
  db.admin.query("update public.token_accounts set tokens_owed = 5 where user_id = any ($1)", [
    nths.map((nth) => users[nth]),
  ]);

test("clean books: it says so and ends with 0", async () => {
  const piped = await run("verify", [], env);
  const json = await run("verify", ["--json"], env);

  expect(piped).toMatchObject({ status: 0, stderr: "" });
  expect(piped.stdout).toMatch(/^No invariant is broken: 30 users \(\d+ s, [\d,]+ users\/s\)\.\n$/);
  expect([json.status, JSON.parse(json.stdout)]).toEqual([
    0,
    { breaches: [], users: 30, finished: true, after: null },
  ]);
});

test("breaches are listed, for people and for machines, and it ends with 1", async () => {
  await owing(3, 17);
  const breach = (nth: number) => ({
    invariant: "I3 debt",
    user_id: users[nth],
    grant_id: null,
    transaction_id: null,
    expected: "0",
    found: "5",
  });

  const [piped, json, one, other] = await Promise.all([
    run("verify", ["--piece", "20"], env),
    run("verify", ["--json"], env),
    run("verify", ["--json", "--user", users[17]!], env),
    run("verify", ["--user", `${users[18]!}@example.com`], env),
  ]);

  expect(piped.status).toBe(1);
  expect(piped.stdout).toBe(
    [
      "invariant\tuser\tgrant\ttransaction\texpected\tfound",
      `I3 debt\t${users[3]}\t\t\t0\t5`,
      `I3 debt\t${users[17]}\t\t\t0\t5`,
      "",
    ].join("\n"),
  );
  expect(piped.stderr).toMatch(/^2 breaches in the books of 2 of 30 users/);
  expect([json.status, JSON.parse(json.stdout)]).toEqual([
    1,
    { breaches: [breach(3), breach(17)], users: 30, finished: true, after: null },
  ]);
  expect([one.status, JSON.parse(one.stdout).breaches]).toEqual([1, [breach(17)]]);
  expect([other.status, other.stdout]).toEqual([
    0,
    expect.stringContaining("No invariant is broken: 1 user "),
  ]);
});

test("books without an account are found too: first, last and between; going by the accounts finds none", async () => {
  const broken = await createDatabase();
  const several = (await Promise.all(Array.from({ length: 12 }, () => createUser(broken)))).sort();
  for (const user of several) await grant(broken, user, 100);
  const orphans = [several[0], several[6], several[11]];
  await broken.admin.query("delete from public.token_accounts where user_id = any ($1)", [orphans]);

  const { status, stdout } = await run("verify", ["--json", "--piece", "1"], {
    SUPABASE_DB_URL: broken.url(),
  });
  const byAccounts = await broken.admin.query(
    "select v.* from public.token_accounts a cross join lateral public.verify_token_ledger(a.user_id) v",
  );
  await broken.drop();

  const found = new Set(JSON.parse(stdout).breaches.map((it: { user_id: string }) => it.user_id));
  console.log(
    `without an account=3 found=${found.size}; control, account by account: found=${byAccounts.rowCount}`,
  );
  expect([status, [...found].sort()]).toEqual([1, orphans]);
  expect(byAccounts.rowCount).toBe(0);
});

/** Has a command say on its stderr that a signal has reached it: its own handler runs at the same moment. */
const tellsOfSignals = {
  NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(
    `for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.stderr.write("a signal was heard\\n"))`,
  )}`,
};

test("a run that was stopped says how to go on, and going on finds the rest: nothing twice, nothing missed", async () => {
  await owing(0, 1, 13, 29);
  const blocker = await db.admin.connect();

  /** Stops a run in the middle of its piece. */
  const stopped = async (
    args: string[],
    stop: (command: ReturnType<typeof start>, backend: number) => Promise<unknown>,
  ) => {
    await blocker.query("begin; lock table public.token_payments in access exclusive mode");
    const command = start("verify", ["--json", "--piece", "1", ...args], { ...env, ...tellsOfSignals });
    for (;;) {
      const { rows } = await blocker.query(
        "select pid from pg_locks where not granted and relation = 'public.token_payments'::regclass",
      );
      if (rows.length > 0) {
        await stop(command, rows[0].pid);
        break;
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await blocker.query("rollback");
    const { status, stdout, stderr } = await command.finished;
    const [, after] = /--after ([0-9a-f-]{36})/.exec(stderr) ?? [];
    return {
      status,
      stderr,
      after,
      ...(JSON.parse(stdout) as { breaches: { user_id: string }[]; users: number }),
    };
  };

  /** Sends a signal; it must have been heard before the piece is done. */
  const signal = (command: ReturnType<typeof start>, name: NodeJS.Signals) => {
    command.kill(name);
    return command.says("a signal was heard");
  };

  const first = await stopped([], (command) => signal(command, "SIGINT"));
  const second = await stopped(["--after", first.after!], (command) => signal(command, "SIGTERM"));
  const third = await stopped(["--after", second.after!], (_, backend) =>
    blocker.query("select pg_terminate_backend($1, 10000)", [backend]),
  );
  const last = await run("verify", ["--json", "--after", third.after!], env);
  blocker.release(true);

  const rest = JSON.parse(last.stdout);
  const runs = [first, second, third, { ...rest, status: last.status }];
  console.log(
    `stopped and gone on: statuses=${runs.map((it) => it.status).join()} users=${runs.map((it) => it.users).join("+")} breaches=${runs.map((it) => it.breaches.length).join("+")}`,
  );
  expect([first.after, second.after, third.after]).toEqual([users[0], users[1], users[1]]);
  expect(first.stderr).toContain("Not finished: 1 of 30 users.");
  expect(third.stderr).toContain("was lost");
  expect(runs.map((it) => it.users)).toEqual([1, 1, 0, 28]);
  expect(runs.map((it) => it.status)).toEqual([1, 1, 2, 1]);
  expect(runs.flatMap((it) => it.breaches).map((it: { user_id: string }) => it.user_id)).toEqual(
    [0, 1, 13, 29].map((nth) => users[nth]),
  );
});

test("a piece that takes longer than the server allows is taken again in halves, and a single user gets the time they need", async () => {
  const slow = await createDatabase();
  const several = await Promise.all(Array.from({ length: 9 }, () => createUser(slow)));
  for (const user of several) await grant(slow, user, 100);
  await slow.admin.query(`
    create function public.still_there(p_after uuid, p_until uuid) returns bigint language sql as $$
      select count(*) from public.token_accounts a
       where (p_after is null or a.user_id > p_after) and (p_until is null or a.user_id <= p_until) $$;
    create or replace function public.verify_token_ledger(
      p_user_id uuid default null, p_after uuid default null, p_until uuid default null)
    returns table (invariant text, user_id uuid, grant_id uuid, transaction_id bigint, expected text, found text)
    language plpgsql volatile as $$
    begin
      if public.still_there(p_after, p_until) > 2
        or p_until = (select min(a.user_id::text)::uuid from public.token_accounts a)
      then
        perform pg_sleep(1.5);
      end if;
      return query select 'I0 looked at', a.user_id, null::uuid, null::bigint, '', '' from public.token_accounts a
        where (p_after is null or a.user_id > p_after) and (p_until is null or a.user_id <= p_until);
    end $$;
    alter role postgres in database ${slow.name} set statement_timeout = '700ms'`);

  const { status, stdout } = await run("verify", ["--json"], { SUPABASE_DB_URL: slow.url() });
  await slow.drop();

  const seen = JSON.parse(stdout).breaches.map((it: { user_id: string }) => it.user_id);
  expect(status).toBe(1);
  expect(seen.sort()).toEqual(several.sort());
}, 180_000);

test("it says what it can't do, and ends with 2", async () => {
  const platform = await createDatabase({ template: "platform" });
  const said = await Promise.all([
    run("verify", ["--after", "x"], env),
    run("verify", ["--user", users[0]!, "--after", users[0]!], env),
    run("verify", ["--user", "nobody@example.com"], env),
    run("verify", ["--piece", "0"], env),
    run("verify", ["--all"], env),
    run("verify", [], { SUPABASE_DB_URL: platform.url() }),
  ]);
  await platform.drop();

  expect(said.map(({ status }) => status)).toEqual([2, 2, 2, 2, 2, 2]);
  const words = [
    "id of a user",
    "One user",
    "Nobody has signed up",
    "--piece",
    "--all",
    "npx tokenbook install",
  ];
  for (const [i, { stdout, stderr }] of said.entries()) {
    expect(stderr).toContain(words[i]);
    expect(stderr).not.toMatch(/postgres:postgres|^ +at /m);
    expect(stdout).toBe("");
  }
});
