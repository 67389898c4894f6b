import type pg from "pg";
import { Failure } from "local-platform/terminal/failure";
import { databaseCommand, exit, onDatabase, Refusal, wholeNumber } from "../command.ts";
import { select } from "../data/client.ts";
import { grantTypesWith } from "../data/grant-types.ts";
import { readShadow } from "../data/shadow.ts";
import { readRate } from "../import/amounts.ts";
import { collect, type LeftOut, type Opening } from "../import/collect.ts";
import {
  fromColumn,
  fromCsv,
  fromMysqlDump,
  fromStripe,
  fromStripeFile,
  fromTokenBalances,
  fromUserProfiles,
  type OpenSource,
} from "../import/sources.ts";
import { readUsers } from "../import/users.ts";
import { readSource } from "../install/uses.ts";
import { createProgress, duration, readable } from "../terminal/progress.ts";
import { stopsOnSignal } from "../terminal/stop.ts";
import { createVoice } from "../terminal/voice.ts";

/** How many users a call opens: a second's work. */
const portion = 2_000;

/** `tokenbook import`: the balances that users have elsewhere. */
export const importCommand = databaseCommand(
  "import",
  "Opens the books of users who have balances elsewhere: one opening balance each, once.",
  `Without --book it only says what it would do. Who has books already is left as they are, so a run that was cut short
is simply given again, and the same again changes nothing.

Amounts become tokens by --times, rounded down to whole ones. NULL is nothing. Below zero is a debt, which the next tokens
repay first. Several rows of one user are added up. What is not taken is listed, with the reason.`,
)
  .requiredOption(
    "--from <source>",
    "<table>.<column>, user_profiles, token_balances (or token_balances=<table>), csv, stripe-credits or mysql-dump",
  )
  .option("--file <path>", "of csv and mysql-dump; of stripe-credits where Stripe itself is not asked")
  .option("--user-column <column>", "of <table>.<column>: whose a row is")
  .option("--mapping <file>", "a CSV of two columns: the other system's user, and the id or address here")
  .option("--metadata-key <key>", "of stripe-credits: the metadata that names the user", "user_id")
  .option("--times <number>", "how many tokens one of the source's units is", "1")
  .option("--grant-type <type>", "of grants of which the source does not say it", "purchase")
  .option("--lifetime-days <days>", "of these; left out, they never run out", wholeNumber(1, "days"))
  .option("--book", "books it")
  .option("--checksum <checksum>", "with --book: only if it is what the run without it said")
  .option("--json", "for machines")
  .action(async (options) => {
    const rate = readRate(options.times);
    await onDatabase(options, async (client) => {
      const started = performance.now();
      const knownTypes = await grantTypesWith(client, options.grantType);
      const shadow = await readShadow(client);
      if (shadow !== undefined && options.book) {
        throw new Refusal(
          `${shadow.source} is followed (npx tokenbook shadow): that opens the books of new users by itself. Nothing was changed.`,
        );
      }
      const progress = createProgress(process.stderr, { inLogs: true });
      const resolve = await readUsers(client, options.mapping);
      const source = await openSource(client, options);
      const rules = {
        times: rate,
        grantType: options.grantType,
        lifetimeDays: options.lifetimeDays,
        knownTypes,
        now: new Date(),
      };
      const found = await collect(source.rows, rules, resolve, (rows) =>
        progress.show(`${readable(rows)} rows read`),
      );
      progress.clear();
      if (options.checksum !== undefined && options.checksum !== found.checksum) {
        throw new Refusal(
          `The source is another than it was: its checksum is ${found.checksum}. Nothing was changed.`,
        );
      }
      const before = await sumOfOpenings(client, source.name);
      const done = await open(client, source.name, options.times, found.openings, options.book !== true);
      const report = {
        source: source.name,
        booked: options.book === true,
        rows: found.rows,
        sum_in_source: found.sum,
        checksum: found.checksum,
        users: found.openings.length,
        without_balance: found.empty,
        ...done,
        left_out: [...found.leftOut, ...done.left_out],
        tokens_from_it_before: before,
        tokens_from_it_after: await sumOfOpenings(client, source.name),
        seconds: Math.round((performance.now() - started) / 100) / 10,
        notes: source.notes,
      };
      createVoice(options.json).report(report, asText);
      process.exitCode = exit.right;
    });
  });

type Options = {
  from: string;
  file?: string | undefined;
  userColumn?: string | undefined;
  metadataKey: string;
};

async function openSource(
  client: pg.Client,
  { from, file, userColumn, metadataKey }: Options,
): Promise<OpenSource> {
  const path = () => {
    if (file === undefined) throw new Failure(`--from ${from} is a file: --file <path>.`);
    return file;
  };
  if (from === "csv") return fromCsv(path());
  if (from === "stripe-credits")
    return file === undefined ? fromStripe(metadataKey) : fromStripeFile(file, metadataKey);
  if (from === "mysql-dump") return fromMysqlDump(path());
  if (from === "user_profiles") return await fromUserProfiles(client);
  const balances = /^token_balances(?:=(.+))?$/.exec(from);
  if (balances) return await fromTokenBalances(client, balances[1] ?? "token_balances");
  return await fromColumn(client, readSource(from), userColumn);
}

interface Done {
  taken: number;
  grants: number;
  tokens: number;
  owed: number;
  done_before: number;
  left_out: LeftOut[];
}

/** Portion by portion, each in a transaction of its own: what is booked stays booked. */
async function open(
  client: pg.Client,
  source: string,
  times: string,
  openings: readonly Opening[],
  isDry: boolean,
): Promise<Done> {
  const progress = createProgress(process.stderr, { inLogs: true });
  const stop = stopsOnSignal();
  const all: Done = { taken: 0, grants: 0, tokens: 0, owed: 0, done_before: 0, left_out: [] };
  const begin = performance.now();
  for (let from = 0; from < openings.length; from += portion) {
    if (stop.aborted) {
      progress.clear();
      throw new Failure(
        `Stopped after ${readable(from)} of ${readable(openings.length)} users. What is booked stays; the same again goes on.`,
      );
    }
    const [row] = await select<{ done: Done }>(
      client,
      "select tokenbook.import_opening_balances($1, $2::jsonb, $3) as done",
      [
        source,
        // whoever follows the source from here on has to know the rate
        JSON.stringify(
          openings.slice(from, from + portion).map((one) => ({ ...one, metadata: { times: times.trim() } })),
        ),
        isDry,
      ],
    );
    const { done } = row!;
    for (const key of ["taken", "grants", "tokens", "owed", "done_before"] as const)
      all[key] += Number(done[key]);
    all.left_out.push(...done.left_out);
    const users = Math.min(from + portion, openings.length);
    const left = ((performance.now() - begin) / users) * (openings.length - users);
    progress.show(`${readable(users)} of ${readable(openings.length)} users, ${duration(left / 1000)} left`);
  }
  progress.clear();
  return all;
}

async function sumOfOpenings(client: pg.Client, source: string): Promise<number> {
  const [row] = await select<{ sum: string }>(
    client,
    `select coalesce(sum(t.tokens - t.debt_change), 0)::text as sum from public.token_transactions t
      where t.id = 1 and t.entry_type = 'opening_balance' and t.metadata ->> 'imported_from' = $1`,
    [source],
  );
  return Number(row!.sum);
}

type Report = Done & {
  source: string;
  booked: boolean;
  rows: number;
  sum_in_source: string;
  checksum: string;
  users: number;
  without_balance: number;
  tokens_from_it_before: number;
  tokens_from_it_after: number;
  seconds: number;
  notes: string[];
};

function asText(report: Report): string {
  const reasons = new Map<string, LeftOut[]>();
  for (const one of report.left_out) reasons.set(one.why, [...(reasons.get(one.why) ?? []), one]);
  const verb = report.booked ? "booked" : "to be booked";
  return [
    `From ${report.source}: ${readable(report.rows)} rows, ${report.sum_in_source} in all.`,
    ...report.notes.map((note) => `  ${note}`),
    `  ${verb.padEnd(14)} ${readable(report.taken)} users, ${readable(report.tokens)} tokens in ${readable(report.grants)} grants${report.owed > 0 ? `, ${readable(report.owed)} owed` : ""}; ${readable(report.without_balance)} of the users have nothing`,
    `  done before    ${readable(report.done_before)} users`,
    `  not taken      ${readable(report.left_out.length)}`,
    ...[...reasons].map(
      ([why, some]) =>
        `    ${readable(some.length)}: ${why}${
          some[0]!.user === ""
            ? ""
            : ` (${some
                .slice(0, 3)
                .map(({ user }) => user)
                .join(", ")}${some.length > 3 ? ", …" : ""})`
        }`,
    ),
    `  in the books from it: ${readable(report.tokens_from_it_before)} before, ${readable(report.tokens_from_it_after)} now`,
    `  checksum ${report.checksum}, ${report.seconds} s`,
    report.booked
      ? "Compare at any time: the same without --book says that everyone was done before."
      : `Nothing was changed. To book exactly this: the same with --book --checksum ${report.checksum}`,
  ].join("\n");
}
