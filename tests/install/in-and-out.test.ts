// @module-tag proof
/** `tokenbook check`, `install` and `uninstall` as a team types them, with the real CLI and database. */
import { appendFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Refusal } from "../../packages/tokenbook/src/command.ts";
import { applyWritten } from "../../packages/tokenbook/src/project/apply.ts";
import { functionFiles, importsOf, allFunctions } from "../../packages/tokenbook/src/project/functions.ts";
import { run } from "../support/command.ts";
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
      const added = await run("admin", ["add", `${who}-of-roles@example.com`, "--replace-role", "--db-url", guest.db.url()]);
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
