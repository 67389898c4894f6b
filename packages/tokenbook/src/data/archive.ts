/** Old usage in a file in place of a table (decision 81). */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "local-platform/terminal/failure";
import { Refusal } from "../command.ts";
import { writeWholeFile } from "../terminal/whole-file.ts";
import { select } from "./client.ts";
import type { SqlClient } from "./client.ts";

/*
 * The file: a line that says what it is, a line of JSON for each use, as Postgres writes a row of token_usage, and a last
 * line with what they come to and the SHA-256 of all lines before it.
 */
const kind = "tokenbook usage archive";

/** What so many uses come to, and the entries of the ledger that are theirs. Numbers as text: no digit is lost. */
export interface Weight {
  uses: number;
  tokens: string;
  cost_cents: string;
  first_used_at: string | null;
  last_used_at: string | null;
  entries: number;
  /** Of all that is a number, an id or a moment in those entries, in whatever order they come. */
  entries_digest: string;
}

/** An archive's file, as far as it was read. */
export interface ArchiveFile {
  used_before: string;
  uses: number;
  tokens: string;
  cost_cents: string;
  first_used_at: string;
  last_used_at: string;
  digest: string;
}

const nothing: Weight = {
  uses: 0,
  tokens: "0",
  cost_cents: "0",
  first_used_at: null,
  last_used_at: null,
  entries: 0,
  entries_digest: "0",
};

/** What these lines come to, with those before them. */
async function weigh(client: SqlClient, lines: string[], before: Weight): Promise<Weight> {
  const [row] = await select<Record<keyof Weight, string>>(
    client,
    `select $2::bigint + count(*) as uses, ($3::numeric + coalesce(sum(r.tokens_used), 0))::text as tokens,
            trim_scale($4::numeric + coalesce(sum(r.cost_estimate), 0))::text as cost_cents,
            to_json(least($5::timestamptz, min(r.created_at)) at time zone 'UTC') #>> '{}' || 'Z' as first_used_at,
            to_json(greatest($6::timestamptz, max(r.created_at)) at time zone 'UTC') #>> '{}' || 'Z' as last_used_at,
            $7::bigint + count(t.id) as entries,
            mod(mod($8::numeric + coalesce(sum(hash_record_extended(row(
              t.user_id, t.id, t.entry_type, t.action_type, t.tokens, t.balance_after, t.debt_change, t.reserved_change, t.grant_ids,
              t.grant_tokens, t.usage_id, t.hold_id, t.member_id, t.created_at), 0)::numeric) filter (where t.id is not null), 0),
              18446744073709551616) + 18446744073709551616, 18446744073709551616)::text as entries_digest
       from unnest($1::text[]) as l (line)
      cross join lateral jsonb_populate_record(null::public.token_usage, l.line::jsonb) r
       left join public.token_transactions t on t.user_id = r.user_id and t.id = r.transaction_id`,
    [
      lines,
      before.uses,
      before.tokens,
      before.cost_cents,
      before.first_used_at,
      before.last_used_at,
      before.entries,
      before.entries_digest,
    ],
  );
  return { ...row!, uses: Number(row!.uses), entries: Number(row!.entries) };
}

/**
 * Writes the uses that are older than that to a file, in the order of time; whole on the disk, or not at all.
 *
 * @returns how many; for none there is no file.
 */
export async function writeArchive(
  client: SqlClient,
  path: string,
  usedBefore: string,
  page: number,
  say: (uses: number) => void,
): Promise<number> {
  let weight = nothing;
  const pages = pagesOf(client, usedBefore, page);
  const first = await pages.next();
  if (first.done) return 0;
  async function* texts() {
    const hash = createHash("sha256");
    const text = (line: string): string => {
      hash.update(`${line}\n`);
      return `${line}\n`;
    };
    yield text(JSON.stringify({ archive: kind, version: 1, used_before: usedBefore }));
    let lines: string[] | undefined = first.value as string[];
    while (lines !== undefined) {
      weight = await weigh(client, lines, weight);
      say(weight.uses);
      yield lines.map(text).join("");
      const next = await pages.next();
      lines = next.done ? undefined : next.value;
    }
    const { uses, tokens, cost_cents, first_used_at, last_used_at } = weight;
    const digest = hash.digest("hex");
    yield `${JSON.stringify({ uses, tokens, cost_cents, first_used_at, last_used_at, digest })}\n`;
  }
  await writeWholeFile(path, texts());
  // the name, too: nothing is taken out of the table before the file is there whatever happens to the machine
  const folder = await open(dirname(path));
  await folder.sync();
  await folder.close();
  return weight.uses;
}

async function* pagesOf(
  client: SqlClient,
  usedBefore: string,
  page: number,
): AsyncGenerator<string[], void, undefined> {
  let at: [string, string, string] = [
    "-infinity",
    "00000000-0000-0000-0000-000000000000",
    "00000000-0000-0000-0000-000000000000",
  ];
  for (;;) {
    const rows = await select<{ line: string }>(
      client,
      "select line from tokenbook.uses_to_archive($1, $2, $3, $4, $5) line",
      [usedBefore, ...at, page],
    );
    if (rows.length > 0) yield rows.map(({ line }) => line);
    if (rows.length < page) return;
    const last = JSON.parse(rows.at(-1)!.line) as { created_at: string; user_id: string; id: string };
    at = [last.created_at, last.user_id, last.id];
  }
}

/**
 * Reads the file from its first byte to its last.
 *
 * @throws Refusal (invalid_usage_archive) when it is no archive, not whole, or was changed.
 */
export async function readArchive(path: string): Promise<ArchiveFile> {
  const invalid = (why: string) =>
    new Refusal(`invalid_usage_archive: ${path} ${why}.\nNothing was changed in the database.`);
  const hash = createHash("sha256");
  let head: { archive?: string; version?: number; used_before?: string } | undefined;
  let line: string | undefined;
  let uses = -1; // the first line is none
  for await (const next of linesOf(path)) {
    if (line !== undefined) {
      head ??= asObject(line);
      hash.update(`${line}\n`);
      uses++;
    }
    line = next;
  }
  if (head?.archive !== kind || head.version !== 1 || head.used_before === undefined)
    throw invalid("is no archive of usage");
  const foot = asObject(line ?? "") as Partial<ArchiveFile>;
  const digest = hash.digest("hex");
  if (foot.digest === undefined) throw invalid("is not whole: its last line says no digest");
  if (foot.digest !== digest || foot.uses !== uses)
    throw invalid(`was changed: it says ${foot.digest}, and its lines make ${digest}`);
  return { ...(foot as ArchiveFile), used_before: head.used_before };
}

function asObject(line: string): Record<string, never> {
  try {
    return Object(JSON.parse(line)) as Record<string, never>;
  } catch {
    return {};
  }
}

/** The lines of a file, ended by \n alone; what follows the last one is none, unless it is not empty. */
async function* linesOf(path: string): AsyncGenerator<string, void, undefined> {
  let rest = "";
  try {
    for await (const chunk of createReadStream(path, "utf8")) {
      const lines = (rest + String(chunk)).split("\n");
      rest = lines.pop()!;
      yield* lines;
    }
  } catch (error) {
    const { code, syscall, message } = error as NodeJS.ErrnoException;
    throw syscall === undefined ? error : new Failure(`${path} cannot be read: ${code ?? message}.`);
  }
  if (rest !== "") yield rest;
}

/** The uses of a file, so many lines at a time. */
async function* pagesIn(path: string, page: number): AsyncGenerator<string[], void, undefined> {
  let isFirst = true;
  let lines: string[] = [];
  let last: string | undefined;
  for await (const line of linesOf(path)) {
    if (last !== undefined && !isFirst) lines.push(last);
    if (last !== undefined) isFirst = false;
    last = line;
    if (lines.length >= page) {
      yield lines;
      lines = [];
    }
  }
  if (lines.length > 0) yield lines;
}

/** What the uses of a file come to, and what the ledger has of them now. */
export async function weighArchive(client: SqlClient, path: string, page: number): Promise<Weight> {
  let weight = nothing;
  for await (const lines of pagesIn(path, page)) weight = await weigh(client, lines, weight);
  return weight;
}

/** What an archive leaves in the table, and of what kind it is; one use may be of several. */
export interface Left {
  uses: number;
  /** That no entry of the ledger is of. */
  unbooked: number;
  of_admins: number;
  of_test_users: number;
}

/** Which uses of before that there are in the table. */
export async function leftBefore(client: SqlClient, usedBefore: string): Promise<Left> {
  const [row] = await select<Record<keyof Left, string>>(
    client,
    `select count(*) as uses, count(*) filter (where u.transaction_id is null) as unbooked,
            count(*) filter (where u.action_type = any (tokenbook.reserved_action_types())) as of_admins,
            count(*) filter (where exists (select 1 from tokenbook.test_users t where t.user_id = u.user_id)) as of_test_users
       from public.token_usage u where u.created_at < $1`,
    [usedBefore],
  );
  return {
    uses: Number(row!.uses),
    unbooked: Number(row!.unbooked),
    of_admins: Number(row!.of_admins),
    of_test_users: Number(row!.of_test_users),
  };
}

/** Writes down which file it is: what has to be known before anything is taken out of the table. */
export async function registerArchive(client: SqlClient, path: string, file: ArchiveFile): Promise<void> {
  await client.query(
    `insert into tokenbook.usage_archives (digest, name, used_before, uses, tokens, cost_cents, first_used_at, last_used_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing`,
    [
      file.digest,
      basename(path),
      file.used_before,
      file.uses,
      file.tokens,
      file.cost_cents,
      file.first_used_at,
      file.last_used_at,
    ],
  );
}

/**
 * Takes the uses of the file out of the table, or puts them back, a portion in each transaction. Says after each how many
 * that were.
 */
export async function* goThrough(
  client: SqlClient,
  path: string,
  file: ArchiveFile,
  page: number,
  direction: "archive" | "restore",
): AsyncGenerator<number, void, undefined> {
  // reports wait behind whoever waits for the marks
  await client.query("set lock_timeout = '500ms'");
  for await (const lines of pagesIn(path, page)) {
    let answer = await giveLines(client, file, lines, direction);
    while (answer.is_behind) {
      await countUntil(client, file.used_before);
      answer = await giveLines(client, file, lines, direction);
    }
    yield answer.uses;
  }
}

/** One portion; where somebody else is at it, again and again. */
async function giveLines(
  client: SqlClient,
  { digest }: ArchiveFile,
  lines: string[],
  direction: "archive" | "restore",
): Promise<{ uses: number; is_behind: boolean }> {
  for (let nth = 1; ; nth++) {
    try {
      const [row] = await select<{ answer: { archived?: number; restored?: number; is_behind: boolean } }>(
        client,
        `select tokenbook.${direction}_uses($1, $2) as answer`,
        [digest, lines],
      );
      const { archived, restored, is_behind } = row!.answer;
      return { uses: archived ?? restored ?? 0, is_behind };
    } catch (error) {
      if (!["55P03", "40P01"].includes((error as { code?: string }).code ?? "")) throw error;
      if (nth === 600)
        throw new Failure(
          "A transaction with a report's totals, or with an old use, has been open for ten minutes.\nThe same command goes on from here, once it has ended.",
        );
      await sleep(500);
    }
  }
}

const everyone = "00000000-0000-0000-0000-000000000000";

/**
 * Has everyone's uses counted for the reports as far as that.
 *
 * @throws Failure after ten minutes without a step: a transaction is open that may still write an older one.
 */
async function countUntil(client: SqlClient, until: string): Promise<void> {
  let was: string | undefined;
  let since = Date.now();
  for (;;) {
    const [mark] = await select<{ counted_until: string; is_there: boolean }>(
      client,
      "select m.counted_until::text, m.counted_until >= $2 as is_there from tokenbook.usage_marks m where m.user_id = $1",
      [everyone, until],
    );
    if (mark?.is_there) return;
    if (mark?.counted_until !== was) since = Date.now();
    else if (was !== undefined) await sleep(200);
    if (Date.now() - since > 600_000)
      throw new Failure(
        "A transaction has been open for ten minutes that may still write an old use.\nThe same command goes on from here, once it has ended.",
      );
    was = mark?.counted_until;
    await client.query("select tokenbook.count_usage($1)", [everyone]);
  }
}

/** It has been gone through: taken out, or put back whole, and then nobody has to know the file any more. */
export async function endArchive(
  client: SqlClient,
  { digest }: ArchiveFile,
  direction: "archive" | "restore",
): Promise<void> {
  await client.query(
    direction === "archive"
      ? "update tokenbook.usage_archives set finished_at = coalesce(finished_at, clock_timestamp()) where digest = $1"
      : "delete from tokenbook.usage_archives where digest = $1 and uses_archived <= 0",
    [digest],
  );
}
