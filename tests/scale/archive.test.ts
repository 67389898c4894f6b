// @module-tag proof
/** `tokenbook archive`: old usage in a file, while the project is being written; and back. */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import { begin, cancel, planByTime, usage } from "../../packages/tokenbook/src/data/partitions.ts";
import { writeArchive } from "../../packages/tokenbook/src/data/archive.ts";
import { breaches, grant } from "../support/books.ts";
import { runHere, start } from "../support/command.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { expectSoundInstallation } from "../support/installation.ts";
import { applyMutant } from "../support/mutants.ts";
import { asService, createUser, rpc } from "../support/roles.ts";
import { connectAsOwner, connectAsServer, storm } from "../support/storm.ts";
import { letTimePass } from "../support/time.ts";

let db: Database;
let folder: string;
let file: string;
beforeEach(async () => {
  db = await createDatabase();
  folder = await mkdtemp(join(tmpdir(), "archive-"));
  file = join(folder, "usage.jsonl");
});
afterEach(async () => {
  await db.drop();
  await rm(folder, { recursive: true });
});

const call = (name: string, args: Record<string, unknown>) =>
  asService(db, (client) => rpc(client, name, args));
const today = () => new Date().toISOString().slice(0, 10);
const archive = async (...args: string[]) => {
  const done = await runHere("archive", [file, ...args, "--yes", "--json"], {
    SUPABASE_DB_URL: db.url("postgres"),
  });
  return { ...done, said: done.stdout === "" ? undefined : JSON.parse(done.stdout) };
};
const rows = async <T = Record<string, unknown>>(sql: string, values: unknown[] = []): Promise<T[]> =>
  (await db.admin.query(sql, values)).rows as T[];
const uses = () =>
  rows("select row_to_json(u)::text as use from public.token_usage u order by u.created_at, u.user_id, u.id");
const ledger = () =>
  rows("select row_to_json(t)::text as entry from public.token_transactions t order by t.user_id, t.id");

interface Life {
  users: string[];
  /** Those that can be made again. */
  calls: { name: string; args: Record<string, unknown> }[];
}

/** A payer, a member of their team and somebody else, with uses of all kinds, most of them of more than a month ago. */
async function live(): Promise<Life> {
  const users = await Promise.all(Array.from({ length: 3 }, () => createUser(db)));
  const [payer, member, other] = users as [string, string, string];
  await call("set_token_model_price", {
    p_model: "m",
    p_price: { input_cents_per_million: 30_000, output_cents_per_million: 150_000 },
    p_reason: "a price",
  });
  for (const user of [payer, other]) await grant(db, user, 5_000);
  await call("add_token_team_member", { p_user_id: payer, p_member_id: member });
  const calls: Life["calls"] = [];
  const make = async (name: string, args: Record<string, unknown>) => {
    const receipt = await call(name, args);
    if (args["p_idempotency_key"] !== undefined || name === "capture_tokens") calls.push({ name, args });
    return receipt;
  };
  for (const [nth, days] of [35, 33, 2, 0].entries()) {
    for (const user of users) {
      const track = (args: Record<string, unknown>) =>
        make("track_token_usage", { p_user_id: user, p_action_type: "chat_conversation", ...args });
      await track({
        p_model_used: "m",
        p_input_tokens: 120,
        p_output_tokens: 33,
        p_idempotency_key: `keyed-${nth}`,
      });
      await track({
        p_model_used: "m",
        p_input_tokens: 7,
        p_output_tokens: 2,
        p_metadata: { of: user, "\u2028": "Ü" },
      });
      await track({ p_tokens_used: 11, p_idempotency_key: `free-${nth}` });
      await track({
        p_tokens_used: 50,
        p_success: false,
        p_error_message: "timed out",
        p_idempotency_key: `failed-${nth}`,
      });
      await track({
        p_tokens_used: 9_000,
        p_on_shortage: "partial",
        p_action_type: "image_generation",
        p_images: 3,
      });
      await grant(db, user === member ? payer : user, 3_000);
      const hold = await make("reserve_tokens", { p_user_id: user, p_tokens: 20 });
      await make("capture_tokens", {
        p_user_id: user,
        p_hold_id: hold["hold_id"],
        p_tokens: 25,
        p_model_used: "m",
        p_input_tokens: 10,
        p_output_tokens: 15,
        p_over_capture: "deduct",
      });
    }
    await call("adjust_tokens", { p_user_id: other, p_delta: -3, p_reason: "a correction" });
    for (const user of [payer, other])
      if (days > 0) await letTimePass(db, user, nth === 0 ? 2 : nth === 1 ? 31 : days);
  }
  // of before the books, and booked by nobody: they stay where they are
  await db.admin.query(
    "insert into public.token_usage (user_id, action_type, tokens_used, created_at) values ($1, 'chat_conversation', 4, now() - interval '60 days')",
    [other],
  );
  return { users, calls };
}

/** What anybody can ask of it. */
async function whatIsTold({ users }: Life): Promise<Record<string, unknown>> {
  const told: Record<string, unknown> = {
    high: await rows("select * from public.get_users_with_high_token_usage(10)"),
    accounts: await rows("select * from public.token_accounts order by user_id"),
  };
  const everyone = "00000000-0000-0000-0000-000000000000";
  for (const user of [...users, everyone])
    for (const bucket of ["hour", "day", "week", "month", "all"])
      for (const by of user === everyone
        ? ["none", "model", "action"]
        : ["none", "model", "action", "member"])
        for (const [from, to] of [
          [50, 25],
          [3, -1],
        ] as const) {
          const [row] = await rows<{ report: unknown }>(
            `select public.get_token_usage_by($1, $2, date_trunc('day', now() - make_interval(days => $3)), date_trunc('day', now() - make_interval(days => $4)),
                      p_user_id => nullif($5, '${everyone}')::uuid, p_for_everyone => $5 = '${everyone}') as report`,
            [bucket, by, from, to, user],
          );
          told[`${user} ${bucket} ${by} ${from}`] = row!.report;
        }
  for (const user of users)
    told[`reconciled ${user}`] = (
      await rows("select public.reconcile_user_token_balance($1) - 'last_transaction_id' as answer", [user])
    )[0];
  told["discrepancies"] = await rows("select * from public.find_token_discrepancies(0)");
  return told;
}

/** What the calls are answered that are made again. */
async function answersAgain({ calls }: Life): Promise<Record<string, unknown>[]> {
  const answers: Record<string, unknown>[] = [];
  for (const { name, args } of calls)
    answers.push(await call(name, args).catch(({ message }: Error) => ({ refused: message }))); // its words are forgotten
  return answers;
}

/** Of the verifier. */
const found = () => rows("select invariant, user_id, expected, found from public.verify_token_ledger()");

test("archived, everything is told as before; a key is answered as ever; restored, the table is as it was", async () => {
  const life = await live();
  await whatIsTold(life); // some of it is counted already
  const answers = await answersAgain(life);
  expect(answers.every((answer) => answer.replayed)).toBe(true);
  const [before, told, entries] = [await uses(), await whatIsTold(life), await ledger()];
  expect(await found()).toEqual([]);

  const done = await archive("--before", today());
  expect(done.status, done.stderr).toBe(0);
  console.log(done.stdout.replaceAll(/\s+/g, " "));
  const left = await uses();
  expect(done.said).toMatchObject({
    uses: before.length - left.length,
    archived: before.length - left.length,
  });
  expect(done.said.archived).toBeGreaterThan(40);
  const isOld = ({ use }: Record<string, unknown>) => JSON.parse(String(use)).created_at < today();
  expect(done.said.left).toMatchObject({ uses: left.filter(isOld).length, unbooked: 1, of_test_users: 0 });
  expect(done.said.left.of_admins).toBeGreaterThan(0);
  // what stays: today's, corrections, what no entry is of
  expect(
    await rows(
      "select 1 from public.token_usage where created_at < date_trunc('day', now() at time zone 'UTC') at time zone 'UTC' and transaction_id is not null and action_type <> 'admin_deduct'",
    ),
  ).toEqual([]);
  expect(done.said.ledger).toMatchObject({
    entries: done.said.archived,
    digest_after: done.said.ledger.digest_before,
  });
  expect(await ledger()).toEqual(entries);
  expect(await found()).toEqual([]);
  expect(await breaches(db)).toEqual([]);
  expect(await whatIsTold(life)).toEqual(told);
  // counted anew, too, of the totals alone
  await db.admin.query("delete from tokenbook.usage_totals; delete from tokenbook.usage_marks");
  expect(await whatIsTold(life)).toEqual(told);
  await expectSoundInstallation(db);

  expect(life.calls.length).toBeGreaterThan(40);
  expect(await answersAgain(life)).toEqual(answers);
  expect(await ledger()).toEqual(entries);

  // the same again is asked about, as the first time was; it finds nothing more, and neither does another file
  const unasked = await runHere("archive", [file, "--before", today()], {
    SUPABASE_DB_URL: db.url("postgres"),
  });
  expect([unasked.status, unasked.stderr]).toEqual([2, expect.stringContaining("nobody to ask")]);
  expect((await archive("--before", today())).said).toMatchObject({ archived: 0 });
  const another = await runHere("archive", [join(folder, "other"), "--before", today(), "--yes", "--json"], {
    SUPABASE_DB_URL: db.url("postgres"),
  });
  expect(JSON.parse(another.stdout)).toMatchObject({ uses: 0 });
  expect(existsSync(join(folder, "other"))).toBe(false);

  const restored = await archive("--restore");
  expect(restored.said, restored.stderr).toMatchObject({ restored: done.said.archived });
  expect(await uses()).toEqual(before);
  for (const table of ["archived_usage", "archived_usage_receipts", "usage_archives"])
    expect(await rows(`select * from tokenbook.${table}`), table).toEqual([]);
  expect(await found()).toEqual([]);
  expect(await whatIsTold(life)).toEqual(told);
  expect((await archive("--restore")).stderr).toContain("not restored since");
  expect(await uses()).toEqual(before);
});

test("under load no use and no call is lost, wherever it is killed", async () => {
  const users = await Promise.all(Array.from({ length: 4 }, () => createUser(db)));
  for (const user of users) await grant(db, user, 1_000_000);
  let acknowledged = 0;
  const refused: string[] = [];
  const track = async (attempt: number, client: Parameters<typeof rpc>[0]) => {
    const receipt = await rpc(client, "track_token_usage", {
      p_user_id: users[attempt % users.length],
      p_action_type: "chat_conversation",
      p_tokens_used: 1 + (attempt % 7),
      ...(attempt % 3 === 0 ? { p_idempotency_key: `call-${attempt}` } : {}),
    });
    if (receipt["success"] !== true) refused.push(JSON.stringify(receipt));
    acknowledged++;
    return "tracked";
  };
  await storm(db, { connections: 4, attempts: 1_200, run: (client, attempt) => track(attempt, client) });
  for (const user of users) await letTimePass(db, user, 20);
  const old = await uses();

  const isOver = new AbortController();
  const writing = storm(db, {
    connections: 4,
    attempts: 1_000_000,
    until: isOver.signal,
    run: async (client, attempt) => {
      const outcome = await track(10_000 + attempt, client);
      if (attempt % 40 === 0)
        await rpc(client, "get_token_usage_by", {
          p_bucket: "day",
          p_user_id: users[attempt % users.length],
        });
      return outcome;
    },
  });
  const lines = async () => (await readFile(file, "utf8")).split("\n").slice(1, -2);
  const env = { SUPABASE_DB_URL: db.url("postgres") };
  try {
    for (const [nth, moment] of ["On ", "Written", "Read back", "", "", "Archived"].entries()) {
      const running = start("archive", [file, "--before", today(), "--page", "40", "--yes", "--json"], env);
      if (moment === "")
        for (let isBegun = false; !isBegun;)
          isBegun =
            (await rows("select from tokenbook.usage_archives where uses_archived > $1", [nth * 150 - 400]))
              .length > 0;
      else await running.says(moment);
      running.kill("SIGKILL");
      const { status } = await running.finished;
      // each use is in the table, or in the file and in the totals
      const there = existsSync(file) ? new Set(await lines()) : new Set<string>();
      const [{ archived }] = (await rows<{ archived: number }>(
        "select coalesce(sum(uses), 0)::int as archived from tokenbook.archived_usage",
      )) as [{ archived: number }];
      const inTable = new Set((await uses()).map(({ use }) => use as string));
      const gone = old.filter(({ use }) => !inTable.has(use as string));
      expect(gone.filter(({ use }) => !there.has(use as string))).toEqual([]);
      expect(gone).toHaveLength(archived);
      expect(await found()).toEqual([]);
      console.log(
        `killed at "${moment}": status=${status} in the file ${there.size}, out of the table ${archived}`,
      );
    }
    const done = await archive("--before", today());
    expect(done.status, done.stderr).toBe(0);
    // and back, killed once
    const running = start("archive", [file, "--restore", "--page", "40", "--yes", "--json"], env);
    await running.says("Read back");
    running.kill("SIGKILL");
    await running.finished;
    expect(await found()).toEqual([]);
    expect((await archive("--before", today())).status).toBe(0);
  } finally {
    isOver.abort();
  }
  const { mix } = await writing;
  console.log(`calls=${acknowledged} mix=${JSON.stringify(mix)}`);
  expect([Object.keys(mix), refused]).toEqual([["tracked"], []]);
  const [counted] = await rows(
    `select (select count(*) from public.token_usage)::int as there, (select sum(uses) from tokenbook.archived_usage)::int as archived,
            (select count(*) from public.token_transactions where entry_type = 'deduction')::int as entries,
            (select uses_archived from tokenbook.usage_archives)::int as said`,
  );
  const { there, archived, entries, said } = counted as Record<string, number>;
  expect({ uses: there! + archived!, entries, said, archived }).toEqual({
    uses: acknowledged,
    entries: acknowledged,
    said: old.length,
    archived: old.length,
  });
  expect(await found()).toEqual([]);
  expect(await breaches(db)).toEqual([]);
});

test("a file that was changed in any byte, cut off, or is another's is refused, and nothing changes", async () => {
  await live();
  await archive("--before", today());
  const whole = await readFile(file);
  const before = [await uses(), await rows("select * from tokenbook.archived_usage order by 1, 2, 3, 4, 5")];
  const step = Math.ceil(whole.length / 20);
  let refused = 0;
  for (let at = 0; at < whole.length; at += step) {
    const changed = Buffer.from(whole);
    changed[at]! ^= 1;
    await writeFile(file, changed);
    for (const args of [["--restore"], ["--before", today()]]) {
      const done = await archive(...args);
      expect([at, done.status, done.stderr.trim().split(":")[0]]).toEqual([at, 1, "invalid_usage_archive"]);
      refused++;
    }
  }
  for (const cut of [0, 1, 100, whole.length - 1, whole.length - 2]) {
    await writeFile(file, whole.subarray(0, cut === whole.length - 1 ? cut - 40 : cut));
    expect((await archive("--restore")).stderr.trim().split(":")[0], String(cut)).toBe(
      "invalid_usage_archive",
    );
    refused++;
  }
  console.log(`refused=${refused}`);
  // as somebody would write it who knows how: with a digest of its own, and another that the database knows
  const lines = whole.toString().split("\n").slice(0, -2);
  lines[1] = lines[1]!.replace(/"tokens_used":\d+/, '"tokens_used":999');
  const body = `${lines.join("\n")}\n`;
  const digest = createHash("sha256").update(body).digest("hex");
  const foot = JSON.parse(whole.toString().split("\n").at(-2)!) as { tokens: string; digest: string };
  const used = (line: string) => Number((JSON.parse(line) as { tokens_used: number }).tokens_used);
  const tokens = lines.slice(1).reduce((sum, line) => sum + used(line), 0);
  await writeFile(file, `${body}${JSON.stringify({ ...foot, tokens: String(tokens), digest })}\n`);
  expect((await archive("--restore")).stderr).toContain("invalid_usage_archive");
  await db.admin.query("update tokenbook.usage_archives set digest = $1", [digest]);
  expect((await archive("--restore")).stderr).toContain("invalid_usage_archive");
  expect([await uses(), await rows("select * from tokenbook.archived_usage order by 1, 2, 3, 4, 5")]).toEqual(
    before,
  );
  await writeFile(file, whole);
  expect((await archive("--before", "2020-01-01")).stderr).toContain("is there, and has the uses before");
  const owner = await connectAsOwner(db);
  await begin(owner, usage, (await planByTime(owner, "month"))!);
  await owner.end();
  expect((await archive("--restore")).stderr).toContain("is being changed into other partitions");
});

test("a report whose transaction stays open is waited for, and other reports do not wait behind that", async () => {
  const { users } = await live();
  const report = "select public.get_token_usage_by('day', p_user_id => $1)";
  const reader = await connectAsServer(db);
  const owner = await connectAsOwner(db);
  await owner.query("begin");
  await owner.query("select tokenbook.count_usage($1)", [users[0]]); // as a report does that has much to count
  let isDone = false;
  const archiving = archive("--before", today()).finally(() => (isDone = true));
  for (let nth = 0; nth < 20; nth++) {
    await reader.query(report, [users[1]]);
    await reader.query("select public.get_token_usage_by('day', p_user_id => null, p_for_everyone => true)");
  }
  expect(isDone).toBe(false);
  await owner.query("commit");
  await owner.end();
  await reader.end();
  expect((await archiving).status).toBe(0);
  expect(await found()).toEqual([]);
});

/** Part of what was used is counted for the reports of one user and of everyone: as far as the middle of an hour. */
async function countInPart(user: string): Promise<void> {
  const [limits] = await rows<{ body: string }>(
    "select pg_get_functiondef('tokenbook.limits()'::regprocedure) as body",
  );
  await db.admin.query(limits!.body.replace('"usage_rows": 25000', '"usage_rows": 4'));
  for (const who of [user, "00000000-0000-0000-0000-000000000000"])
    for (let nth = 0; nth < 3; nth++) await db.admin.query("select tokenbook.count_usage($1)", [who]);
  await db.admin.query(limits!.body);
}

/** What is not as it should be after an archive whose file was written before some of it changed. */
async function archiveWhatChanges(): Promise<string[]> {
  const life = await live();
  const [payer, , other] = life.users as [string, string, string];
  // what somebody changed is evidence
  const [changed] = await rows<{ id: string }>(
    `update public.token_usage u set tokens_used = tokens_used + 1
      where user_id = $1 and id = (select id from public.token_usage where user_id = $1 and success and tokens_uncovered = 0
                                      and transaction_id is not null and action_type <> 'admin_grant' order by created_at limit 1) returning id`,
    [other],
  );
  const owner = await connectAsOwner(db);
  await owner.query("set timezone = 'UTC'");
  await writeArchive(owner, file, `${today()}T00:00:00Z`, 10, () => {});
  await owner.end();
  await call("forget_token_user", { p_user_id: other });
  await db.admin.query("delete from tokenbook.usage_totals; delete from tokenbook.usage_marks");
  await countInPart(payer);
  const answers = await answersAgain(life);
  const [before, told, wrong] = [await uses(), await whatIsTold(life), await found()];

  const done = await archive("--before", today(), "--page", "7");
  const lines = new Set((await readFile(file, "utf8")).split("\n"));
  const left = new Set((await uses()).map(({ use }) => use));
  const faults: string[] = [];
  if (done.status !== 0) faults.push("it failed");
  if (before.some(({ use }) => !left.has(use) && !lines.has(use as string))) faults.push("a use is lost");
  if ((await rows("select from public.token_usage where id = $1", [changed!.id])).length === 0)
    faults.push("evidence is lost");
  const now = await whatIsTold(life);
  const without = (what: Record<string, unknown>, word: string) =>
    Object.entries(what).filter(([name]) => name.startsWith("reconciled") === (word === "reconciled"));
  if (!isDeepStrictEqual(without(now, ""), without(told, ""))) faults.push("reports differ");
  if (!isDeepStrictEqual(without(now, "reconciled"), without(told, "reconciled")))
    faults.push("reconciled differently");
  if (!isDeepStrictEqual(await found(), wrong)) faults.push("the verifier differs");
  if (!isDeepStrictEqual(await answersAgain(life), answers)) faults.push("a key is answered otherwise");
  return faults;
}

test("a use that changed since the file was written stays in the table, and what is counted in part is counted whole", async () => {
  expect(await archiveWhatChanges()).toEqual([]);
});

sees(archiveWhatChanges, {
  "archives-take-what-is-not-in-the-file": "a use is lost",
  "archives-take-evidence": "evidence is lost",
  "archives-drop-receipts": "a key is answered otherwise",
  "archived-receipts-are-not-looked-for": "a key is answered otherwise",
  "reports-forget-archived-uses": "reports differ",
  "archives-leave-counts-in-part": "reports differ",
  "archives-run-before-the-count": "reports differ",
  "verifier-forgets-archived-cost": "the verifier differs",
  "reconciliation-forgets-archived-cost": "reconciled differently",
});

test("totals that are not what is booked are a breach, and a line that is not is never restored", async () => {
  await live();
  await archive("--before", today());
  await db.admin.query(
    "update tokenbook.archived_usage set tokens = tokens + 1 where ctid = (select min(ctid) from tokenbook.archived_usage)",
  );
  expect(await found()).toMatchObject([{ invariant: "I4 archived usage = its transactions" }]);
  await applyMutant(db, "verifier-trusts-archived-totals");
  expect(await found()).toEqual([]); // known-bad
  const [archived] = await rows("select digest from tokenbook.usage_archives");
  const restore = (line: object) =>
    db.admin.query("select tokenbook.restore_uses($1, $2)", [archived!["digest"], [JSON.stringify(line)]]);
  const line = JSON.parse((await readFile(file, "utf8")).split("\n")[1]!) as { tokens_used: number };
  await expect(restore({ ...line, tokens_used: line.tokens_used + 1 })).rejects.toThrow(
    "invalid_usage_archive",
  );
  await applyMutant(db, "archives-restore-anything");
  await restore({ ...line, tokens_used: line.tokens_used + 1 }); // known-bad
});

/** What goes wrong when users are erased, are moved away or came with a move, and when the usage is split meanwhile. */
async function archiveBesideOthers(): Promise<string[]> {
  const life = await live();
  const [payer, member, other] = life.users as [string, string, string];
  const faults: string[] = [];
  // an hour in which somebody came with a move
  const [came] = await rows<{ id: string }>(
    `insert into tokenbook.moves (user_id, id, direction, phase, former_state, started_at, settled_at)
     select u.user_id, gen_random_uuid(), 'in', 'arrived', 'active', date_trunc('hour', u.created_at), now()
       from public.token_usage u where u.user_id = $1 and u.member_id is null and u.transaction_id is not null and u.success
      order by u.created_at limit 1 returning id`,
    [payer],
  );
  await archive("--before", today());
  const kept = await rows(
    `select from public.token_usage u join tokenbook.moves m on m.user_id = u.user_id
      where m.id = $1 and date_trunc('hour', u.created_at) = date_trunc('hour', m.started_at)`,
    [came!.id],
  );
  if (kept.length === 0) faults.push("an hour of a move is archived");

  const [archived] = await rows("select digest from tokenbook.usage_archives");
  const owner = await connectAsOwner(db);
  await begin(owner, usage, (await planByTime(owner, "month"))!);
  const refused = await owner
    .query("select tokenbook.restore_uses($1, '{}'), tokenbook.archive_uses($1, '{}')", [archived!["digest"]])
    .then(
      () => "",
      (error: Error) => error.message,
    );
  if (refused !== "invalid_usage_archive") faults.push("it goes on while the usage is split");
  await cancel(owner, usage);
  await owner.end();

  const state = (user: string, to: string) =>
    db.admin.query("update public.token_accounts set state = $2 where user_id = $1", [user, to]);
  const usesOf = async (user: string) =>
    (await rows("select from public.token_usage where user_id = $1 and created_at < $2", [user, today()]))
      .length;
  const [payers, others] = [await usesOf(payer), await usesOf(other)];
  await call("forget_token_user", { p_user_id: member });
  await state(other, "moved");
  const { status } = await archive("--restore");
  if (status !== 0 || (await usesOf(payer)) === payers) faults.push("one user stops a restore");
  if ((await usesOf(other)) !== others) faults.push("uses of users elsewhere are restored");
  await state(other, "active");
  await archive("--restore");
  if ((await usesOf(other)) === others) faults.push("uses of who came back are not restored");
  const words = await rows("select from public.token_usage where member_id = $1 and metadata ? 'of'", [
    member,
  ]);
  if (words.length > 0) faults.push("words that were erased are back");
  if ((await found()).length > 0) faults.push("the verifier finds something");
  return faults;
}

test("who was erased stays erased, who was moved stops nobody, and a split and an archive wait for each other", async () => {
  expect(await archiveBesideOthers()).toEqual([]);
});

sees(archiveBesideOthers, {
  "archives-take-hours-of-moves": "an hour of a move is archived",
  "rows-leave-while-split": "it goes on while the usage is split",
  "moved-users-stop-restores": "one user stops a restore",
  "restored-words-come-back": "words that were erased are back",
});

/** Known-bad: each of these variants has that fault, among others. */
function sees(trial: () => Promise<string[]>, faults: Record<string, string>): void {
  test.each(Object.entries(faults))("the trial sees %s", async (mutant, fault) => {
    await applyMutant(db, mutant);
    const those = await trial();
    console.log(`${mutant}: ${those.join(", ")}`);
    expect(those).toContain(fault);
  });
}
