import {
  mkdtempSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "csv-parse/sync";
import { afterAll, beforeAll, expect, test } from "vitest";
import { grant } from "../support/books.ts";
import { run, runHere, start } from "../support/command.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { writeLongLedger } from "../support/long-ledger.ts";
import { asService, createUser, rpc } from "../support/roles.ts";

/** Too little for 100,000 transactions in memory (tests/functions/balance/csv.test.ts shows it), and plenty for the command. */
const smallHeap = { NODE_OPTIONS: "--max-old-space-size=64" };
const length = 100_000;

let db: Database;
let env: Record<string, string>;
let folder: string;
let user: string;
beforeAll(async () => {
  db = await createDatabase();
  env = { SUPABASE_DB_URL: db.url() };
  folder = mkdtempSync(join(tmpdir(), "tokenbook-export-"));
  user = await createUser(db, { email: "dora@example.com" });
  await grant(db, user, 500);
  for (const reason of ["=1+1", 'said "no"', "two\nlines", "漢字"]) {
    await asService(db, (client) =>
      rpc(client, "adjust_tokens", { p_user_id: user, p_delta: -5, p_reason: reason }),
    );
  }
});
afterAll(async () => {
  rmSync(folder, { recursive: true });
  await db.drop();
});

async function userWithLongLedger(deductions: number): Promise<string> {
  const longUser = await createUser(db);
  await writeLongLedger(db, longUser, deductions);
  return longUser;
}

const linesOf = (text: string): Record<string, string>[] =>
  parse(text, { columns: true, record_delimiter: "\r\n" });

test("by id or by address, to the output or into a file: the same CSV", async () => {
  const file = join(folder, "dora.csv");
  writeFileSync(file, "what was there before");

  const printed = await run("export", ["--user", user], env);
  const written = await run("export", ["--user", "Dora@Example.com", "--output", file], env);

  expect(printed).toMatchObject({ status: 0, stderr: "" });
  const lines = linesOf(printed.stdout);
  expect(
    lines.map((line) => [line["number"], line["tokens"], line["balance_after"], line["reason"]]),
  ).toEqual([
    ["5", "-5", "480", "漢字"],
    ["4", "-5", "485", "two\nlines"],
    ["3", "-5", "490", 'said "no"'],
    ["2", "-5", "495", "'=1+1"],
    ["1", "500", "500", ""],
  ]);
  expect(lines.reduce((sum, line) => sum + Number(line["tokens"]), 0)).toBe(480);
  expect(written).toMatchObject({ status: 0, stderr: "" });
  expect(written.stdout).toBe(`5 transactions of ${user} are in ${file} (0.0 MB).\n`);
  expect(readFileSync(file, "utf8")).toBe(printed.stdout);
});

test("100,000 transactions go through in bounded memory", { tags: ["proof"], timeout: 120_000 }, async () => {
  const longUser = await userWithLongLedger(length);
  const begin = performance.now();
  const whole = await run("export", ["--user", longUser], { ...env, ...smallHeap });
  const seconds = (performance.now() - begin) / 1000;
  const lines = linesOf(whole.stdout);
  console.log(`rows=${lines.length} bytes=${whole.stdout.length} seconds=${seconds.toFixed(1)} heap<=64 MB`);
  expect(whole).toMatchObject({ status: 0, stderr: "" });
  expect(lines.map((line) => Number(line["number"]))).toEqual(
    Array.from({ length: length + 1 }, (_, i) => length + 1 - i),
  );
  expect(lines.reduce((sum, line) => sum + Number(line["tokens"]), 0)).toBe(1_000);
});

test("a reader who has enough, as head has, is no error", async () => {
  // more than fits into a pipe that nobody reads
  const command = start("export", ["--user", await userWithLongLedger(5_000)], env);
  command.hangUpAfter(1_000);

  expect(await command.finished).toMatchObject({ status: 0, stderr: "" });
});

test(
  "a file is whole or not there: what was there stays when an error, Ctrl-C or a lost connection comes between",
  { tags: ["proof"], timeout: 60_000 },
  async () => {
    const longUser = await userWithLongLedger(length);
    const inside = join(folder, "whole");
    mkdirSync(inside);
    const file = join(inside, "ledger.csv");
    writeFileSync(file, "last month's");
    const args = ["--user", longUser, "--output", file];
    const blocker = await db.admin.connect();
    /** Starts the command and waits until it waits for a page. */
    const startAndBlock = async () => {
      await blocker.query("begin; lock table public.token_legacy_transactions in access exclusive mode");
      const command = start("export", args, env);
      for (;;) {
        const { rows } = await blocker.query(
          "select pid from pg_locks where not granted and relation = 'public.token_legacy_transactions'::regclass",
        );
        if (rows.length > 0) return { command, backend: rows[0].pid as number };
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    };

    const interrupted = await startAndBlock();
    interrupted.command.kill("SIGINT");
    const onSignal = await interrupted.command.finished;
    await blocker.query("rollback");

    const lost = await startAndBlock();
    await blocker.query("select pg_terminate_backend($1)", [lost.backend]);
    const onLoss = await lost.command.finished;
    await blocker.query("rollback");
    blocker.release(true);

    await db.admin.query(`
    create or replace function public.get_token_history(
      p_user_id uuid default tokenbook.caller_id(), p_limit integer default 50, p_before bigint default null)
    returns jsonb language plpgsql volatile security invoker set search_path = '' as $$
    begin
      if p_before < 50000 then raise exception 'disk on fire'; end if;
      return tokenbook.get_token_history(p_user_id, p_limit, p_before);
    end $$`);
    const onError = await run("export", args, env);
    const onErrorPrinted = await run("export", ["--user", longUser], env);

    console.log(
      `status after Ctrl-C=${onSignal.status} lost connection=${onLoss.status} error=${onError.status}; files=${readdirSync(inside).join()}`,
    );
    expect([onSignal.status, onLoss.status, onError.status, onErrorPrinted.status]).toEqual([2, 2, 2, 2]);
    expect(onSignal.stderr).toContain("not the whole ledger");
    expect(onLoss.stderr).toContain("was lost");
    expect(onError.stderr).toContain("disk on fire");
    expect(readdirSync(inside)).toEqual(["ledger.csv"]);
    expect(readFileSync(file, "utf8")).toBe("last month's");
  },
);

test("it says what it can't do, and fails", async () => {
  const link = join(folder, "link.csv");
  writeFileSync(join(folder, "linked.csv"), "");
  symlinkSync(join(folder, "linked.csv"), link);
  const platform = await createDatabase({ template: "platform" });

  for (const [args, words, where] of [
    [[], "--user"],
    [["--user", "nobody@example.com"], "Nobody has signed up"],
    [["--user", "00000000-0000-4000-8000-00000000dead"], "There is no user"],
    [["--user", user, "--output", folder], "is no file"],
    [["--user", user, "--output", "/dev/null"], "is no file"],
    [["--user", user, "--output", join(folder, "linked.csv", "such.csv")], "cannot be written"],
    [["--user", user], "npx tokenbook install", { SUPABASE_DB_URL: platform.url() }],
  ] as [string[], string, typeof env?][]) {
    const { status, stdout, stderr } = await runHere("export", args, where ?? env);
    expect({ args, status, stdout }).toEqual({ args, status: 2, stdout: "" });
    expect(stderr).toContain(words);
    expect(stderr).not.toMatch(/postgres:postgres|^ +at /m);
  }
  await platform.drop();

  const throughLink = await run("export", ["--user", user, "--output", link], env);
  const piped = await run("export", ["--user", user], { ...env, npm_lifecycle_event: "export" });
  expect(throughLink.status).toBe(0);
  expect(readFileSync(join(folder, "linked.csv"), "utf8")).toContain("漢字");
  expect([piped.status, piped.stderr]).toEqual([0, expect.stringContaining("npm run --silent export")]);
});
