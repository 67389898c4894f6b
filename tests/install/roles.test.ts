// @module-tag proof
/** The commands as roles that are not postgres: what row level security hides is no row less, and what is missing is said in words. */
import { expect, test } from "vitest";
import { runHere } from "../support/command.ts";
import { createDatabase } from "../support/database.ts";
import { asDeployer, connectAsPlatform, from, startCounting } from "./counter.ts";

/** Everybody's rows but those that are active are hidden from all who do not pass row level security, the owner included. */
const hideRows = `
  alter table public.profiles add column active boolean not null default false;
  alter table public.profiles force row level security;
  drop policy "own" on public.profiles;
  create policy "those who are active" on public.profiles using (active)`;

test.each([
  ["none", "select"],
  [
    "a part",
    "update public.profiles set active = true where id in (select min(id::text)::uuid from public.profiles)",
  ],
])(
  "of a role that sees %s of the rows nothing is imported, nothing is followed, and nobody's tokens are taken",
  async (_, show) => {
    const project = await startCounting(5);
    const { db, users, tokenbook, net } = project;
    const deployer = await asDeployer(db);
    const hidden = {
      status: 2,
      stderr: expect.stringMatching(
        new RegExp(
          `^\\n${deployer.name} does not see all rows of the table profiles: [^\\n]+\\nConnect as postgres[^\\n]+\\n$`,
        ),
      ),
      stdout: "",
    };
    await db.admin.query(hideRows);
    await db.admin.query(show);
    for (const args of [[], ["--book"]]) {
      expect(await deployer.run("import", ...from, "--times", "10", ...args)).toEqual(hidden);
    }
    await project.follow();
    await db.admin.query("update public.profiles set credits = 90");
    for (const args of [["--compare"], ["--start"], ["--start"], [], ["--start", "--watch"]]) {
      expect(await deployer.run("shadow", ...args), args.join()).toEqual(hidden);
    }
    expect(await tokenbook("shadow", "--stop")).toMatchObject({ status: 0 });
    expect(await deployer.run("shadow", ...from, "--start")).toEqual(hidden);
    expect(await tokenbook("shadow", ...from, "--start")).toMatchObject({ status: 0 });
    expect(await Promise.all(users.map(net))).toEqual(users.map(() => 900));
    await deployer.drop();
    await project.end();
  },
);

test("a role without the right is refused in one line that names it and the role to connect as", async () => {
  const db = await createDatabase();
  const [deployer, stranger] = [await asDeployer(db), await asDeployer(db)];
  await stranger.become("none");
  const said: Record<string, string> = {};
  for (const [who, name] of [
    [deployer, "doctor"],
    [deployer, "verify"],
    [stranger, "doctor"],
    [stranger, "verify"],
    [stranger, "status"],
    [stranger, "shadow"],
    [stranger, "import"],
  ] as const) {
    const { status, stderr, stdout } = await who.run(name, ...(name === "import" ? from : []));
    said[`${who === deployer ? "deployer" : "stranger"}: ${name}`] = `${status} ${stdout}${stderr.trim()}`;
  }
  for (const [what, words] of Object.entries(said)) {
    const name = what.startsWith("deployer") ? deployer.name : stranger.name;
    expect(words, what).toMatch(/^2 /);
    expect(words, what).not.toMatch(/^ +at /m);
    expect(words, what).toMatch(
      new RegExp(
        `${name} (may not do that|does not see all rows of the table \\w+): [^\\n]+\\nConnect as postgres[^\\n]+$`,
      ),
    );
  }
  await deployer.drop();
  await stranger.drop();
  await db.drop();
});

test("a shadow that could not be ended is not begun: the triggers are the owner's to take away", async () => {
  const project = await startCounting(2);
  const { db, tokenbook, net, users } = project;
  const owner = await asDeployer(db);
  await owner.become("none");
  const platform = await connectAsPlatform(db);
  expect(await tokenbook("import", ...from, "--times", "10", "--book")).toMatchObject({ status: 0 });
  await platform.query(
    `grant create on schema public to ${owner.name}; alter table public.profiles owner to ${owner.name}; grant select, trigger on public.profiles to postgres`,
  );
  const said = `Triggers on public.profiles are taken away by its owner alone, and postgres has not the rights of ${owner.name}: grant ${owner.name} to postgres.`;
  const refused = { status: 1, stderr: expect.stringContaining(said) };
  expect(await tokenbook("shadow", ...from, "--start")).toMatchObject(refused);
  expect((await db.admin.query("select from tokenbook.shadow")).rowCount).toBe(0);

  await platform.query(`grant ${owner.name} to postgres`);
  expect(await tokenbook("shadow", ...from, "--start")).toMatchObject({ status: 0 });
  await platform.query(`revoke ${owner.name} from postgres`);
  for (const args of [["--stop"], ["--stop", "--force"], ["--start"]]) {
    expect(await tokenbook("shadow", ...args), args.join()).toMatchObject(refused);
  }
  await platform.query(`grant ${owner.name} to postgres`);
  await platform.query("update public.profiles set credits = 90");
  expect(await tokenbook("shadow", "--stop")).toMatchObject({ status: 0 });
  expect(await net(users[0]!)).toBe(900);
  await platform.query(`alter table public.profiles owner to postgres`);
  await owner.drop();
  await platform.end();
  await project.end();
});

test("what a source of the project's own says when it cannot be read is a line, and not a stack", async () => {
  const db = await createDatabase();
  await db.admin.query(`
    create table public.accounts (user_id uuid, credits integer);
    insert into public.accounts select gen_random_uuid(), 0;
    create materialized view public.not_filled as select * from public.accounts with no data;
    create view public.divides as select user_id, 100 / credits as credits from public.accounts;
    create function public.gone() returns integer language plpgsql as 'begin return (select count(*) from nowhere); end';
    create view public.missing as select user_id, public.gone() as credits from public.accounts`);
  for (const [source, words] of [
    ["not_filled", /says: materialized view "not_filled" has not been populated \(55000\)\nUse the REFRESH/],
    ["divides", /says: division by zero \(22012\)$/],
    ["missing", /says: relation "nowhere" does not exist \(42P01\)$/],
  ] as const) {
    const said = await runHere("import", ["--from", `${source}.credits`, "--db-url", db.url()]);
    expect([said.status, said.stdout, said.stderr.trim()]).toEqual([2, "", expect.stringMatching(words)]);
    expect(said.stderr).not.toMatch(/^ +at /m);
  }
  await db.drop();
});
