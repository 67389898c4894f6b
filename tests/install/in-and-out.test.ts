// @module-tag proof
/** `tokenbook check`, `install` and `uninstall` as a team types them, with the real CLI and database. */
import { appendFile, mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import { migrationUp } from "local-platform/project/supabase-cli";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Refusal } from "../../packages/tokenbook/src/command.ts";
import { applyWritten } from "../../packages/tokenbook/src/project/apply.ts";
import {
  allFunctions,
  functionFiles,
  importsOf,
  withBlocks,
  withoutBlocks,
} from "../../packages/tokenbook/src/project/functions.ts";
import { freshVersions } from "../../packages/tokenbook/src/project/migrations.ts";
import { run } from "../support/command.ts";
import { createDatabase } from "../support/database.ts";
import { asService, createUser, rpc } from "../support/roles.ts";
import { answersOf, factsOf, type Guest, projects, startProject, statementsOf, touched } from "./guest.ts";

const config = `# theirs, and kept as it is
project_id = "app"   # a comment
[db]
port = 54322

[functions.hello]
verify_jwt = true`;

let guest: Guest;
beforeEach(async () => {
  guest = await startProject("e-own-private");
  await writeFile(join(guest.root, "supabase/config.toml"), config);
});
afterEach(() => guest.remove());

const tokenbook = (command: string, ...args: string[]) =>
  run(command, [...args, "--db-url", guest.db.url(), "--workdir", guest.root]);
const filesOf = async (folder: string) =>
  (await readdir(join(guest.root, folder), { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(guest.root.length + 1))
    .toSorted();

test(
  "in and out again: the database, the folder and the app are as they were",
  { timeout: 120_000 },
  async () => {
    const [facts, files] = [await factsOf(guest.db), await filesOf("supabase")];
    const answers = await answersOf(guest.db, projects["e-own-private"]!);

    const check = await tokenbook("check");
    expect(check).toMatchObject({ status: 0, stdout: expect.stringContaining("It would succeed") });
    expect(await factsOf(guest.db)).toEqual(facts);
    expect(await filesOf("supabase")).toEqual(files);

    const installed = await tokenbook("install", "--yes", "--functions", "balance,checkout:buy");
    expect(installed).toMatchObject({ status: 0, stdout: expect.stringContaining("2 migrations applied") });
    expect(await readFile(join(guest.root, "supabase/config.toml"), "utf8")).toBe(
      `${config}\n\n[functions.balance]\nverify_jwt = false # it looks itself who is calling\n\n[functions.buy]\nverify_jwt = false # it looks itself who is calling\n`,
    );
    expect(await touched(facts, await factsOf(guest.db))).toEqual([]);
    expect(await answersOf(guest.db, projects["e-own-private"]!)).toEqual(answers);
    const user = await createUser(guest.db);
    await asService(guest.db, (client) =>
      rpc(client, "grant_tokens", { p_user_id: user, p_tokens: 70, p_grant_type: "purchase" }),
    );

    const books = join(guest.root, "books");
    const removed = await tokenbook("uninstall", "--yes", "--export", books);
    expect(removed).toMatchObject({ status: 0, stdout: expect.stringContaining("nothing else has changed") });
    expect(await readFile(join(books, "public.token_balances.csv"), "utf8")).toContain(user);
    await guest.db.admin.query("delete from auth.users where id = $1", [user]);
    expect(await touched(facts, await factsOf(guest.db))).toEqual([]);
    expect([...(await factsOf(guest.db)).keys()].filter((fact) => !facts.has(fact))).toEqual([]);
    expect(await answersOf(guest.db, projects["e-own-private"]!)).toEqual(answers);
    expect(await readFile(join(guest.root, "supabase/config.toml"), "utf8")).toBe(`${config}\n`);
    const left = (await filesOf("supabase")).filter((file) => !files.includes(file));
    expect(left.map((file) => file.replace(/\d{14}/, "<version>"))).toEqual([
      "supabase/migrations/<version>_tokenbook.sql",
      "supabase/migrations/<version>_tokenbook_jobs.sql",
      "supabase/migrations/<version>_remove_tokenbook.sql",
    ]);
  },
);

test("what is in the way is named, and the statements that it says clear it; a refusal changes nothing", async () => {
  await guest.remove();
  guest = await startProject("b-seed-like");
  const [facts, files] = [await factsOf(guest.db), await filesOf("supabase")];

  const refused = await tokenbook("install", "--yes", "--functions", "none");
  const machine = await tokenbook("check", "--json");
  expect(refused).toMatchObject({ status: 1, stdout: expect.stringContaining("token_balances is there") });
  expect([machine.status, JSON.parse(machine.stdout).would_succeed]).toEqual([1, false]);
  expect(await factsOf(guest.db)).toEqual(facts);
  expect(await filesOf("supabase")).toEqual(files);

  for (const statement of statementsOf(refused.stdout)) await guest.db.admin.query(statement);
  expect(await tokenbook("check", "--functions", "none")).toMatchObject({ status: 0 });
});

test("a function of the project's is not replaced, nor are its blocks; another name for ours is said", async () => {
  await mkdir(join(guest.root, "supabase/functions/balance"), { recursive: true });
  await writeFile(join(guest.root, "supabase/functions/balance/index.ts"), "// theirs\n");
  await appendFile(join(guest.root, "supabase/config.toml"), "\n[functions.plans]\nverify_jwt = true\n");

  const check = await tokenbook("check", "--functions", "balance,plans");
  expect(check.status).toBe(1);
  expect(check.stdout).toContain("edge function balance is there already");
  expect(check.stdout).toContain("[functions.plans] already");
  expect(check.stdout).toContain("--functions balance:tokenbook-balance");
  expect(await tokenbook("check", "--functions", "balance:tokenbook-balance")).toMatchObject({ status: 0 });
});

test("write-only: nothing is applied, and the files are newer than all that are there", async () => {
  const facts = await factsOf(guest.db);
  const written = await run("install", ["--write-only", "--functions", "none", "--workdir", guest.root]);

  expect(written.status).toBe(0);
  expect(await factsOf(guest.db)).toEqual(facts);
  expect((await filesOf("supabase/migrations")).at(-1)).toMatch(/_tokenbook_jobs\.sql$/);
  expect(await tokenbook("install", "--yes")).toMatchObject({
    status: 1,
    stdout: expect.stringContaining("tokenbook.json says"),
  });
});

/** Makes the database refuse a kind of statement, in the middle of a migration. */
const refusing = (tag: string) => `
  create function public.refuse_it() returns event_trigger language plpgsql as $$ begin raise exception 'not today'; end $$;
  create event trigger refuse_it on ddl_command_start when tag in ('${tag}') execute function public.refuse_it()`;
const obliging = "drop event trigger refuse_it; drop function public.refuse_it()";

test(
  "the role that made an administrator goes with Tokenbook, as it was before; the app's own stays",
  { timeout: 120_000 },
  async () => {
    expect(await tokenbook("install", "--yes", "--functions", "none")).toMatchObject({ status: 0 });
    const users = await Promise.all(
      ["a", "b", "c", "d"].map((name) => createUser(guest.db, { email: `${name}-of-roles@example.com` })),
    );
    const [plain, editor, admin, other] = users as [string, string, string, string];
    const give = (user: string, role: string) =>
      guest.db.admin.query(
        "update auth.users set raw_app_meta_data = jsonb_build_object('role', $2::text) where id = $1",
        [user, role],
      );
    await give(editor, "editor");
    await give(admin, "admin");
    await give(other, "admin");
    for (const who of ["a", "b", "c"]) {
      const added = await run("admin", [
        "add",
        `${who}-of-roles@example.com`,
        "--replace-role",
        "--db-url",
        guest.db.url(),
      ]);
      expect(added.status, added.stderr).toBe(0);
    }
    expect(JSON.parse((await tokenbook("status", "--json")).stdout)).toMatchObject({ admins: 3 });

    expect(await tokenbook("uninstall", "--yes", "--no-export")).toMatchObject({ status: 0 });
    const { rows } = await guest.db.admin.query(
      "select id, raw_app_meta_data ->> 'role' as role from auth.users where id = any ($1)",
      [users],
    );
    expect(new Map(rows.map(({ id, role }) => [id, role]))).toEqual(
      new Map([
        [plain, null],
        [editor, "editor"],
        [admin, "admin"],
        [other, "admin"],
      ]),
    );
  },
);

test(
  "where the database refuses in the middle, nothing of it stays, in the folder neither",
  { timeout: 120_000 },
  async () => {
    const files = await filesOf("supabase");
    const superuser = new pg.Client({ connectionString: guest.db.url("supabase_admin") });
    await superuser.connect();
    await superuser.query(refusing("CREATE TABLE"));
    const refused = await tokenbook("install", "--yes", "--functions", "balance", "--json");
    expect(refused).toMatchObject({ status: 1, stdout: "", stderr: expect.stringContaining("not today") });
    expect(refused.stderr).toContain("gone again");
    expect(await filesOf("supabase")).toEqual(files);
    expect(await readFile(join(guest.root, "supabase/config.toml"), "utf8")).toContain("# a comment");

    await superuser.query(obliging);
    const installed = await tokenbook("install", "--yes", "--functions", "none", "--json");
    expect(installed.status).toBe(0);
    expect(JSON.parse(installed.stdout)).toMatchObject({
      functions: [],
      applied: [expect.any(String), expect.any(String)],
    });
    const [facts, written] = [await factsOf(guest.db), await filesOf("supabase")];

    await superuser.query(refusing("DROP TABLE"));
    const stays = await tokenbook("uninstall", "--yes", "--no-export");
    expect(stays).toMatchObject({ status: 1, stderr: expect.stringContaining("gone again") });
    await superuser.query(obliging);
    expect([await factsOf(guest.db), await filesOf("supabase")]).toEqual([facts, written]);
    const removed = await tokenbook("uninstall", "--yes", "--no-export", "--json");
    expect(JSON.parse(removed.stdout)).toMatchObject({ applied: true, also_changed: [], kept: [] });
    await superuser.end();
  },
);

test("of several migrations one that is applied stays, and so do the rest", async () => {
  const names = ["20270101000000_first.sql", "20270101000001_second.sql"];
  const paths = names.map((name) => join(guest.root, "supabase/migrations", name));
  const attempt = async (first: string) => {
    await writeFile(paths[0]!, first);
    await writeFile(paths[1]!, "select nothing_of_the_kind();");
    let isTakenAway = false;
    const client = new pg.Client({ connectionString: guest.db.url() });
    await client.connect();
    const applying = { url: guest.db.url(), workdir: guest.root };
    const error = await applyWritten(client, applying, names, () => (isTakenAway = true)).catch(
      (thrown: unknown) => thrown,
    );
    await client.end();
    return [error instanceof Refusal, isTakenAway];
  };
  expect(await attempt("select nor_of_this();")).toEqual([true, true]);
  expect(await attempt("create table public.of_the_first (id int);")).toEqual([false, false]);
});

test("what of the project depends on Tokenbook is named before anything is removed", async () => {
  expect(await tokenbook("install", "--yes", "--functions", "none")).toMatchObject({ status: 0 });
  await guest.db.admin.query(
    "create view public.who_has as select user_id from public.token_accounts; create table public.mine (id uuid, plan text references public.token_plans (plan_type))",
  );
  const facts = await factsOf(guest.db);

  const refused = await tokenbook("uninstall", "--yes", "--no-export");
  expect(refused).toMatchObject({ status: 1, stderr: expect.stringContaining("view who_has uses") });
  expect(refused.stderr).toMatch(/constraint mine_plan_fkey on table mine uses/);
  expect(await factsOf(guest.db)).toEqual(facts);
});

test(
  "a table of the project's on which rows are paid for: check and uninstall name it, and it is as it was",
  { timeout: 120_000 },
  async () => {
    await guest.db.admin.query("create table public.articles (id serial primary key, user_id uuid)");
    const facts = await factsOf(guest.db);
    expect(await tokenbook("install", "--yes", "--functions", "none")).toMatchObject({ status: 0 });
    await guest.db.admin.query(
      `select tokenbook.charge_tokens_on_insert('public.articles', 'article_generation', 10);
       create policy "Users who can pay" on public.articles for select using ((select public.can_spend_tokens(10)))`,
    );
    const check = JSON.parse((await tokenbook("check", "--json")).stdout);
    expect(check.notes).toContain("What is inserted into articles is paid for: trigger tokenbook_charge.");

    const refused = await tokenbook("uninstall", "--yes", "--no-export");
    expect(refused).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("policy Users who can pay on table articles uses"),
    });
    await guest.db.admin.query('drop policy "Users who can pay" on public.articles');
    const removed = JSON.parse((await tokenbook("uninstall", "--yes", "--no-export", "--json")).stdout);
    expect(removed).toMatchObject({ applied: true, also_changed: [] });
    expect(removed.mentioned_by).toContain(
      "trigger tokenbook_charge on articles goes, and what is inserted there is not paid for afterwards",
    );
    expect(await factsOf(guest.db)).toEqual(facts);
  },
);

test("an edge function is copied with all that it imports, and lists the packages that these need", () => {
  for (const name of allFunctions()) {
    const files = functionFiles([{ name, as: name }]);
    const { imports } = JSON.parse(files.get(`${name}/deno.json`)!) as { imports: Record<string, string> };
    const needed = [...files]
      .filter(([path]) => path.endsWith(".ts"))
      .flatMap(([, text]) => importsOf(text))
      .filter((one) => !/^(\.|node:|npm:|jsr:)/.test(one))
      .map((one) => /^(?:@[^/]+\/)?[^/]+/.exec(one)![0]); // a package's own paths come with it
    expect([name, needed.filter((one) => imports[one] === undefined)]).toEqual([name, []]);
    for (const [path, text] of files) {
      for (const one of importsOf(text).filter((other) => other.startsWith("."))) {
        expect([path, files.has(join(path, "..", one))]).toEqual([path, true]);
      }
    }
  }
});

const removals = async () =>
  (await filesOf("supabase/migrations")).filter((file) => file.endsWith("_remove_tokenbook.sql"));

test(
  "a removal that was only written: written once, applied by the next uninstall, or by anybody, and the folder is cleared then",
  { timeout: 180_000 },
  async () => {
    const files = await filesOf("supabase");
    const install = () => tokenbook("install", "--yes", "--functions", "balance");
    expect(await install()).toMatchObject({ status: 0 });
    for (let times = 0; times < 2; times++) {
      expect(await tokenbook("uninstall", "--write-only", "--yes", "--no-export")).toMatchObject({
        status: 0,
        stdout: expect.stringContaining("npx tokenbook uninstall, removes"),
      });
    }
    expect(await removals()).toHaveLength(1);
    const removed = await tokenbook("uninstall", "--yes", "--no-export");
    expect(removed).toMatchObject({ status: 0, stdout: expect.stringContaining("nothing else has changed") });
    expect(removed.stdout).toContain("supabase functions delete balance");
    expect(await removals()).toHaveLength(1);

    expect(await install()).toMatchObject({ status: 0 });
    expect(await tokenbook("uninstall", "--write-only", "--yes", "--no-export")).toMatchObject({ status: 0 });
    await migrationUp({ url: guest.db.url(), workdir: guest.root });
    expect(await tokenbook("status")).toMatchObject({
      status: 1,
      stdout: expect.stringContaining("not in this database any more"),
    });
    const cleared = await tokenbook("uninstall", "--yes", "--json");
    expect([cleared.status, JSON.parse(cleared.stdout).kept], cleared.stderr).toEqual([0, []]);
    expect((await filesOf("supabase")).filter((file) => !file.includes("/migrations/"))).toEqual(
      files.filter((file) => !file.includes("/migrations/")),
    );
    expect(await readFile(join(guest.root, "supabase/config.toml"), "utf8")).toBe(`${config}\n`);
    expect(await tokenbook("uninstall", "--yes", "--no-export")).toMatchObject({ status: 1 });
    expect(await install()).toMatchObject({ status: 0 });
  },
);

test(
  "the history with a removal in it runs again from the beginning, whether a shadow ran when it was written or when it is applied",
  { timeout: 180_000 },
  async () => {
    await guest.remove();
    guest = await startProject("a-credits");
    const shadow = async () => {
      expect(await tokenbook("import", "--from", "profiles.credits", "--book")).toMatchObject({ status: 0 });
      expect(await tokenbook("shadow", "--from", "profiles.credits", "--start")).toMatchObject({ status: 0 });
    };
    expect(await tokenbook("install", "--yes", "--functions", "none")).toMatchObject({ status: 0 });
    // written without one, applied beside one
    expect(await tokenbook("uninstall", "--write-only", "--yes", "--no-export")).toMatchObject({ status: 0 });
    await shadow();
    await migrationUp({ url: guest.db.url(), workdir: guest.root });
    expect(await tokenbook("uninstall", "--yes")).toMatchObject({ status: 0 });
    // written beside one
    expect(await tokenbook("install", "--yes", "--functions", "none")).toMatchObject({ status: 0 });
    await shadow();
    expect(await tokenbook("uninstall", "--yes", "--no-export")).toMatchObject({ status: 0 });

    const fresh = await createDatabase({ template: "platform" });
    const { applied } = await migrationUp({ url: fresh.url(), workdir: guest.root });
    expect(applied).toHaveLength(7);
    await fresh.drop();
  },
);

test(
  "our files that the team changed stay and are named; so are files of the project that need them",
  { timeout: 120_000 },
  async () => {
    expect(await tokenbook("install", "--yes", "--functions", "balance,grant,plans")).toMatchObject({
      status: 0,
    });
    const path = join(guest.root, "supabase/config.toml");
    await appendFile(join(guest.root, "supabase/functions/balance/index.ts"), "// theirs\n");
    const before = await readFile(path, "utf8");
    await writeFile(
      path,
      `${before.replace("false # it looks", "false  # it looks")}import_map = "./plans.json"\n`,
    );
    await guest.db.admin.query(`
      create function public.spend_some() returns jsonb language plpgsql as $$ begin return public.deduct_tokens_with_fifo(auth.uid(), 5); end $$;
      create index by_plan on public.token_accounts (updated_at);
      create policy theirs on public.token_plans for select using (true)`);

    const books = join(guest.root, "kept/books");
    const removed = await tokenbook("uninstall", "--yes", "--export", books);
    expect(removed.status, removed.stderr).toBe(0);
    expect(removed.stdout).toContain("function spend_some() names deduct_tokens_with_fifo");
    expect(removed.stdout).toMatch(/index \S*by_plan/);
    expect(removed.stdout).toMatch(/policy theirs/);
    expect(removed.stdout).toContain("the blocks of plans are not as they were written");
    expect(await readFile(path, "utf8")).toBe(
      `${config}\n\n[functions.balance]\nverify_jwt = false  # it looks itself who is calling\n\n[functions.plans]\nverify_jwt = false # it looks itself who is calling\nimport_map = "./plans.json"\n`,
    );
    const left = new Set(await filesOf("supabase/functions"));
    const needed = [...functionFiles([{ name: "balance", as: "balance" }]).keys()];
    expect(left).toEqual(new Set(needed.map((file) => `supabase/functions/${file}`)));
    expect([
      (await stat(books)).mode & 0o777,
      (await stat(join(books, "tokenbook.trial_keys.csv"))).mode & 0o777,
    ]).toEqual([0o700, 0o600]);
    await rm(books, { recursive: true });
  },
);

test("blocks of config.toml are found by what they say, however they are formatted", () => {
  const ours = [{ name: "balance", as: "balance" }];
  const theirs = "[functions.hello]\nverify_jwt = true\n";
  const after = "\n[db.seed]\nenabled = true\n";
  const without = (text: string) => withoutBlocks(text, ours);
  const whole = withBlocks(theirs, ours);
  expect(without(whole)).toEqual({ text: theirs, stay: [] });
  expect(without(whole + after)).toEqual({ text: theirs + after, stay: [] });
  const windows = (text: string) => text.replaceAll("\n", "\r\n");
  expect(without(windows(whole + after))).toEqual({ text: windows(theirs + after), stay: [] });
  for (const changed of [
    whole.replace("= false # it", "=false  # it"),
    whole.replace("[functions.balance]", '[ functions . "balance" ]'),
    whole.replace(" # it looks itself who is calling", ""),
  ]) {
    expect(without(changed + after)).toEqual({ text: theirs + after, stay: [] });
  }
  for (const changed of [
    `${whole}import_map = "./x.json"\n`,
    whole.replace("verify_jwt = false", "verify_jwt = true"),
    `functions.balance.verify_jwt = false\n[db]\nport = 1\n`,
  ]) {
    expect(without(changed + after)).toEqual({ text: changed + after, stay: ours });
  }
  const inText = `[a]\nb = """\n[functions.balance]\nverify_jwt = false\n"""\n`;
  expect(without(withBlocks(inText, ours))).toEqual({ text: inText, stay: [] });
});

test(
  "a config.toml that takes no blocks is in the way, and nothing is written",
  { timeout: 120_000 },
  async () => {
    const path = join(guest.root, "supabase/config.toml");
    await writeFile(path, 'project_id = "app"\nfunctions = { hello = { verify_jwt = true } }\n');
    const files = await filesOf("supabase");
    const text = await readFile(path, "utf8");
    for (const [name, ...args] of [["check"], ["install", "--yes"], ["install", "--write-only"]] as const) {
      const said = await tokenbook(name, ...args);
      expect([name, said.status, /does not take blocks/.test(said.stdout + said.stderr)]).toEqual([
        name,
        1,
        true,
      ]);
    }
    expect([await filesOf("supabase"), await readFile(path, "utf8")]).toEqual([files, text]);
    await writeFile(path, "project_id = \n");
    expect(await tokenbook("check")).toMatchObject({
      status: 1,
      stdout: expect.stringContaining("is no TOML"),
    });
  },
);

test(
  "migrations that the Supabase CLI would refuse, or that create our names, are reported before anything is applied",
  { timeout: 120_000 },
  async () => {
    const add = (file: string, sql: string) => writeFile(join(guest.root, "supabase/migrations", file), sql);
    await add("20260801000000_late.sql", "select 1;");
    await add(
      "20260902000000_theirs.sql",
      "-- theirs\nCREATE TABLE IF NOT EXISTS public.token_usage (id int);\ncreate table app.token_holds (id int);",
    );
    const facts = await factsOf(guest.db);
    const check = await tokenbook("check", "--functions", "none");
    expect(check.status).toBe(1);
    expect(check.stdout).toContain("20260801000000_late.sql waits, and is older than 20260901000000");
    expect(check.stdout).toMatch(/20260902000000_theirs\.sql waits, and would make first .*: token_usage\n/);
    expect(check.stdout).not.toContain("end in a semicolon");
    expect(check.stdout).toContain("2 of your own migrations are not applied yet");

    await rm(join(guest.root, "supabase/migrations/20260801000000_late.sql"));
    await rm(join(guest.root, "supabase/migrations/20260902000000_theirs.sql"));
    const types = await tokenbook("install", "--yes", "--functions", "none", "--types", "no/such/types.ts");
    expect(types).toMatchObject({ status: 2, stderr: expect.stringContaining("Nothing was changed") });
    const admin = await tokenbook("install", "--yes", "--functions", "none", "--admin", "nobody@example.com");
    expect(admin).toMatchObject({ status: 2, stderr: expect.stringContaining("Nobody has signed up") });

    const well = await tokenbook("check", "--functions", "grant");
    expect(well.stdout).toContain(
      `would succeed: npx tokenbook install --functions grant --db-url <connection string> --workdir ${guest.root}`,
    );
    await rm(join(guest.root, "node_modules"));
    const place = ["--db-url", guest.db.url(), "--workdir", guest.root];
    const without = await run("check", place, { PATH: "/nowhere" });
    expect(without).toMatchObject({
      status: 1,
      stdout: expect.stringContaining("there is no Supabase CLI here"),
    });
    expect(await factsOf(guest.db)).toEqual(facts);
  },
);

test("no version is newer than the last moment", () => {
  expect(() => freshVersions(["99991231235959"], 2)).toThrow("give it a date");
  expect(() => freshVersions(["99999999999999"], 1)).toThrow("give it a date");
  expect(freshVersions(["20261301000000"], 2)).toEqual(["20270101000001", "20270101000002"]);
});
