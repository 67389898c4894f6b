import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { grant } from "../../support/books.ts";
import { run } from "../../support/command.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { createUser } from "../../support/roles.ts";

let db: Database;
let env: NodeJS.ProcessEnv;
let folder: string;
/** In the order of their ids. */
let users: string[];
let file: string;
let digest: string;
beforeAll(async () => {
  db = await createDatabase();
  env = { SUPABASE_DB_URL: db.url() };
  folder = await mkdtemp(join(tmpdir(), "tokenbook-checkpoint-"));
  users = (await Promise.all(Array.from({ length: 12 }, () => createUser(db)))).sort();
  for (const user of users) await grant(db, user, 100);
  file = join(folder, "first.txt");
  const { stdout } = await run("checkpoint", ["--output", file], env);
  digest = /^ {2}([0-9a-f]{64})$/m.exec(stdout)![1]!;
});
afterAll(async () => {
  await db.drop();
  await rm(folder, { recursive: true });
});

/** Changes an entry of that user for good. */
const change = async (user: string, set: string) => {
  const client = await db.admin.connect();
  await client.query(`begin;
    alter table public.token_transactions disable trigger all;
    update public.token_transactions set ${set} where user_id = '${user}' and id = 1;
    alter table public.token_transactions enable trigger all;
    commit`);
  client.release();
};

test("it writes a file whole, with the digest at its end, and reads only what is new the next time", async () => {
  await db.admin.query("select public.deduct_tokens_with_fifo($1, 1)", [users[4]]);
  const later = join(folder, "later.txt");
  const { status, stdout, stderr } = await run("checkpoint", ["--output", later], env);
  const lines = (await readFile(file, "utf8")).split("\n");

  expect([status, stderr]).toEqual([0, ""]);
  expect(stdout).toMatch(
    /^13 entries of 12 users are in the checkpoint .*later\.txt, 1 new \(\d+ s\)\.\nKeep its digest apart from it and from the database:\n\n {2}[0-9a-f]{64}\n/,
  );
  expect(lines[0]).toMatch(/^tokenbook checkpoint 1 of everyone at 20\S+Z$/);
  expect(lines.slice(1, 13).map((line) => line.split(" ")[0])).toEqual(users);
  expect(lines.slice(13)).toEqual([`digest ${digest}`, ""]);
  expect((await readdir(folder)).sort()).toEqual(["first.txt", "later.txt"]);
});

test("a ledger that is as it was: it says so and ends with 0, in pieces of any size", async () => {
  const whole = await run("verify", ["--checkpoint", file, "--digest", digest], env);
  const pieces = await run("verify", ["--checkpoint", file, "--piece", "1", "--json"], env);

  expect(whole).toMatchObject({ status: 0, stderr: "" });
  expect(whole.stdout).toMatch(/^The ledger is as it was: 12 users \(/);
  expect([pieces.status, JSON.parse(pieces.stdout)]).toEqual([
    0,
    { breaches: [], users: 12, finished: true, after: null },
  ]);
  // without the digest nobody knows whether that file is the one of then
  expect(pieces.stderr).toBe(`The digest of that checkpoint is ${digest}: is it the one that you kept?\n`);
});

test("what was changed is named, also where the database's own functions were made to lie", async () => {
  await change(users[7]!, "reason = 'another'");
  const found = await run("verify", ["--checkpoint", file, "--digest", digest, "--piece", "2"], env);
  const lie = await db.admin.connect();
  const { rows } = await lie.query(
    "select pg_get_functiondef(oid) as sql from pg_proc where proname in ('chain_ledger', 'verify_token_checkpoint') and pronamespace = 'tokenbook'::regnamespace",
  );
  await lie.query(`
    create or replace function tokenbook.chain_ledger(p_user_id uuid, p_after tokenbook.ledger_checkpoints default null,
      p_until bigint default 9223372036854775807, p_limit bigint default null)
    returns setof tokenbook.ledger_checkpoints language sql stable as $$
      select c.* from tokenbook.ledger_checkpoints c where c.user_id = p_user_id $$;
    create or replace function tokenbook.verify_token_checkpoint(p_lines jsonb, p_after uuid default null, p_until uuid default null)
    returns table (invariant text, user_id uuid, grant_id uuid, transaction_id bigint, expected text, found text)
    language sql stable as $$ select null, null::uuid, null::uuid, null::bigint, null, null where false $$`);
  const believed = await lie.query("select * from public.verify_token_checkpoint($1)", [
    JSON.stringify((await readFile(file, "utf8")).split("\n").slice(0, -2)),
  ]);
  const foundAgain = await run("verify", ["--checkpoint", file, "--digest", digest], env);
  for (const { sql } of rows) await lie.query(sql);
  lie.release();
  await change(users[7]!, "reason = action_type");

  const line = `I6 entries are as they were: words\t${users[7]}\t\t1\tentries 1 to 1 as at the checkpoint\tchanged, removed or inserted\n`;
  expect([found.status, foundAgain.status]).toEqual([1, 1]);
  expect(found.stdout).toContain(line);
  expect(foundAgain.stdout).toContain(line);
  console.log(
    `found with lying functions: command=1, control, the database's own function: ${believed.rowCount}`,
  );
  expect(believed.rowCount).toBe(0);
});

test("users who are missing are found wherever they stand: first, last and between", async () => {
  const gone = [users[0]!, users[5]!, users[11]!];
  const copy = await createDatabase();
  const rows = await db.admin.query("select * from public.token_transactions where user_id <> all ($1)", [
    gone,
  ]);
  await copy.admin.query(
    "insert into public.token_transactions select * from jsonb_populate_recordset(null::public.token_transactions, $1)",
    [JSON.stringify(rows.rows)],
  );
  const { status, stdout } = await run("verify", ["--checkpoint", file, "--json", "--piece", "3"], {
    SUPABASE_DB_URL: copy.url(),
  });
  await copy.drop();

  const { breaches } = JSON.parse(stdout) as { breaches: { user_id: string; invariant: string }[] };
  expect(status).toBe(1);
  expect(
    breaches.filter((row) => row.invariant === "I6 entries are still there").map((row) => row.user_id),
  ).toEqual(gone);
});

test("one user's checkpoint", async () => {
  const one = join(folder, "one.txt");
  const made = await run("checkpoint", ["--output", one, "--user", `${users[2]}@example.com`], env);
  const verified = await run("verify", ["--checkpoint", one], env);

  expect(made.stdout).toMatch(new RegExp(`^1 entry of ${users[2]} is in the checkpoint`));
  expect([verified.status, verified.stdout]).toEqual([
    0,
    expect.stringContaining("The ledger is as it was: 1 user "),
  ]);
  await rm(one);
});

test("a file that was changed, cut off, or is another: it says so, and ends with 2", async () => {
  const text = await readFile(file, "utf8");
  const lines = text.split("\n");
  const spoilt: [name: string, text: string, says: string][] = [
    ["changed", text.replace(" 1 ", " 2 "), "was changed"],
    ["reordered", [lines[0], lines[2], lines[1], ...lines.slice(3)].join("\n"), "was changed"],
    ["cut off", lines.slice(0, 6).join("\n"), "does not end with its digest"],
    ["longer", `${text}more\n`, "goes on after its digest"],
    ["empty", "", "no checkpoint"],
  ];
  await Promise.all(
    spoilt.map(async ([name, content, says]) => {
      const path = join(folder, `spoilt ${name}.txt`);
      await writeFile(path, content);
      const { status, stderr, stdout } = await run("verify", ["--checkpoint", path], env);
      await rm(path);
      expect([name, status, stdout, stderr]).toEqual([name, 2, "", expect.stringContaining(says)]);
    }),
  );
  const other = await run("verify", ["--checkpoint", file, "--digest", "0".repeat(64)], env);
  expect([other.status, other.stderr]).toEqual([2, expect.stringContaining("another checkpoint")]);
});

test("it says what it can't do", async () => {
  const platform = await createDatabase({ template: "platform" });
  const elsewhere = { SUPABASE_DB_URL: platform.url() };
  const output = join(folder, "never.txt");
  const asked: [status: number, words: string, command: string, args: string[], where?: NodeJS.ProcessEnv][] =
    [
      [2, "--output <file>", "checkpoint", []],
      [2, "Nobody has signed up", "checkpoint", ["--output", output, "--user", "nobody@example.com"]],
      [2, "npx tokenbook install", "checkpoint", ["--output", output], elsewhere],
      [2, "cannot be written", "checkpoint", ["--output", join(file, "below-a-file.txt")]],
      [2, "is there. A checkpoint is kept", "checkpoint", ["--output", file]],
      [2, "cannot be read", "verify", ["--checkpoint", join(folder, "none.txt")]],
      [2, "npx tokenbook install", "verify", ["--checkpoint", file], elsewhere],
      [2, "itself of whom", "verify", ["--checkpoint", file, "--user", users[0]!]],
      [2, "--digest is that of", "verify", ["--digest", digest]],
    ];
  const said = await Promise.all(
    asked.map(async ([expected, words, command, args, where = env]) => ({
      expected,
      words,
      ...(await run(command, args, where)),
    })),
  );
  await platform.drop();

  for (const { expected, words, status, stdout, stderr } of said) {
    expect([words, status, stdout.includes("I6")]).toEqual([words, expected, false]);
    expect(stderr).toContain(words);
    expect(stderr).not.toMatch(/postgres:postgres|^ +at /m);
  }
  expect(await readdir(folder)).not.toContain("never.txt");
});
