import type pg from "pg";
import { Failure } from "local-platform/terminal/failure";
import { databaseCommand, exit, daysOfLife, onDatabase, Refusal } from "../command.ts";
import { select } from "../data/client.ts";
import { grantTypesWith } from "../data/grant-types.ts";
import { readShadow, type Shadow } from "../data/shadow.ts";
import { asPlain, readRate } from "../import/amounts.ts";
import { collect, type LeftOut, type Opening } from "../import/collect.ts";
import {
  columnOfSource,
  fromColumn,
  fromCsv,
  fromMysqlDump,
  fromStripe,
  fromStripeFile,
  fromTokenBalances,
  fromUserProfiles,
  readGrantsTable,
  type OpenSource,
} from "../import/sources.ts";
import { noSuchUser, readUsers } from "../import/users.ts";
import { inShell, readSource } from "../install/uses.ts";
import { count, createProgress, duration, readable } from "../terminal/progress.ts";
import { stopsOnSignal } from "../terminal/stop.ts";
import { createVoice } from "../terminal/voice.ts";
import { lookAt, refuseStrangers } from "./shadow.ts";

/** How many users a call opens: a second's work. */
const portion = 2_000;

/** `tokenbook import`: the balances that users have elsewhere. */
export const importCommand = databaseCommand(
  "import",
  "Opens the books of users who have balances elsewhere: one opening balance each, once.",
  `Without --book it only says what it would do. A user who has books already is left as they are, so a run that was cut short
is simply given again, and the same again changes nothing.

Amounts become tokens by --times, rounded down to whole ones. NULL is nothing. Below zero is a debt, which the next tokens
repay first. Several rows of one user are added up. What is not taken is listed, with the reason.

Ends with 0 when somebody was taken or done before, 1 when nobody could be or it was refused.`,
)
  .requiredOption(
    "--from <source>",
    "<table>.<column>, user_profiles, token_balances (or token_balances=<table>), csv, stripe-credits or mysql-dump",
  )
  .option("--file <path>", "of csv and mysql-dump; of stripe-credits where Stripe itself is not asked")
  .option("--user-column <column>", "of <table>.<column>: whose a row is")
  .option("--mapping <file>", "a CSV of two columns: the other system's user, and the id or address here")
  .option("--metadata-key <key>", "of stripe-credits: the metadata that names the user", "user_id")
  .option("--currency <currency>", "of stripe-credits: of which grants are taken, where there are several")
  .option("--times <number>", "how many tokens one of the source's units is; left out, as before, else 1")
  .option("--grant-type <type>", "of grants of which the source does not say it", "purchase")
  .option(
    "--lifetime-days <days>",
    "of grants of which the source says no end; left out, they never run out",
    daysOfLife,
  )
  .option("--book", "books it")
  .option("--checksum <checksum>", "with --book: only if it is what the run without it said")
  .option("--json", "for machines")
  .action(async (options) => {
    if (options.times !== undefined) readRate(options.times);
    await onDatabase(options, async (client) => {
      const started = performance.now();
      // what a column has is read as texts, and has to look the same whatever this database was told
      await client.query("set datestyle = 'ISO, YMD'; set timezone = 'UTC'; set extra_float_digits = 1");
      const knownTypes = await grantTypesWith(client, options.grantType);
      refuseWithoutEnd(options, knownTypes);
      const shadow = await readShadow(client);
      if (shadow !== undefined && options.book) {
        throw new Refusal(`${isFollowed(shadow)} Nothing was changed.`);
      }
      const source = await openSource(client, options);
      const before = await importedFrom(client, source.name);
      const times = timesOf(source.name, options.times, before.times);
      const progress = createProgress(process.stderr, { inLogs: true });
      const users = await readUsers(client, options.mapping);
      const rules = {
        times: readRate(times),
        grantType: options.grantType,
        lifetimeDays: options.lifetimeDays,
        knownTypes,
        now: await clockOf(client),
      };
      const found = await collect(source.rows, rules, users.resolve, (rows) =>
        progress.show(`${readable(rows)} rows read`),
      );
      progress.clear();
      if (options.checksum !== undefined && options.checksum !== found.checksum) {
        throw new Refusal(
          `The source is another than it was: its checksum is ${found.checksum}. Nothing was changed.`,
        );
      }
      const done = await open(client, source.name, times, found.openings, options.book !== true);
      const report: Report = {
        source: source.name,
        booked: options.book === true,
        times,
        rows: found.rows,
        sum_in_source: found.sum,
        checksum: found.checksum,
        users: found.openings.length,
        ...done,
        left_out: [...found.leftOut, ...done.left_out],
        tokens_from_it_before: before.tokens,
        tokens_from_it_after: (await importedFrom(client, source.name)).tokens,
        seconds: Math.round((performance.now() - started) / 100) / 10,
        notes: [
          ...source.notes,
          ...(options.times === undefined && before.times.length > 0
            ? [`--times ${times}, as it was imported before`]
            : []),
          ...users.notes(),
          ...found.notes,
        ],
      };
      const follow = options.book ? await howFollowed(client, options) : undefined;
      createVoice(options.json).report(report, () => asText(report, ending(report, shadow, follow)));
      process.exitCode = report.taken + report.done_before > 0 ? exit.right : exit.wrong;
    });
  });

const isFollowed = (shadow: Shadow) =>
  `${shadow.source} is followed (npx tokenbook shadow): that opens the books of new users by itself, and an import is refused while it is.`;

/** @throws Failure where no grant of the import could be, because its type has to end and nothing says when. */
function refuseWithoutEnd(
  {
    from,
    grantType,
    lifetimeDays: lifetime,
  }: { from: string; grantType: string; lifetimeDays?: number | undefined },
  knownTypes: ReadonlyMap<string, boolean>,
): void {
  const saysEnds = ["csv", "stripe-credits"].includes(from) || readGrantsTable(from) !== undefined;
  if (knownTypes.get(grantType) && lifetime === undefined && !saysEnds) {
    throw new Failure(
      `A grant of the type ${grantType} has an end, and ${from} says none: --lifetime-days <days>.`,
    );
  }
}

/**
 * How many tokens one unit is: one source has one rate, for new users as for those before.
 *
 * @throws Refusal when it was another before.
 */
function timesOf(source: string, wanted: string | undefined, before: readonly string[]): string {
  const times = wanted === undefined ? undefined : asPlain(readRate(wanted));
  if (before.length === 0) return times ?? "1";
  const known = before.map((one) => asPlain(readRate(one)));
  if (times === undefined ? new Set(known).size === 1 : known.includes(times)) return times ?? known[0]!;
  throw new Refusal(`${source} was imported --times ${known.join(", and ")}. Nothing was changed.`);
}

async function clockOf(client: pg.Client): Promise<Date> {
  const [row] = await select<{ now: Date }>(client, "select clock_timestamp() as now");
  return row!.now;
}

type Options = {
  from: string;
  file?: string | undefined;
  userColumn?: string | undefined;
  metadataKey: string;
  currency?: string | undefined;
};

async function openSource(
  client: pg.Client,
  { from, file, userColumn, ...stripe }: Options,
): Promise<OpenSource> {
  const path = () => {
    if (file === undefined) throw new Failure(`--from ${from} is a file: --file <path>.`);
    return file;
  };
  if (from === "csv") return fromCsv(path());
  if (from === "stripe-credits")
    return file === undefined ? fromStripe(stripe) : fromStripeFile(file, stripe);
  if (from === "mysql-dump") return fromMysqlDump(path());
  if (from === "user_profiles") return await fromUserProfiles(client);
  const balances = readGrantsTable(from);
  if (balances) return await fromTokenBalances(client, balances);
  return await fromColumn(client, readSource(from), userColumn);
}

interface Done {
  taken: number;
  /** Of them. */
  without_balance: number;
  grants: number;
  tokens: number;
  owed: number;
  done_before: number;
  left_out: LeftOut[];
}

const counts = ["taken", "without_balance", "grants", "tokens", "owed", "done_before"] as const;

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
  const all: Done = {
    taken: 0,
    without_balance: 0,
    grants: 0,
    tokens: 0,
    owed: 0,
    done_before: 0,
    left_out: [],
  };
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
        // a shadow that follows the source from here on has to know the rate
        JSON.stringify(openings.slice(from, from + portion).map((one) => ({ ...one, metadata: { times } }))),
        isDry,
      ],
    );
    const { done } = row!;
    for (const key of counts) all[key] += Number(done[key]);
    all.left_out.push(...done.left_out);
    const users = Math.min(from + portion, openings.length);
    const left = ((performance.now() - begin) / users) * (openings.length - users);
    progress.show(`${readable(users)} of ${readable(openings.length)} users, ${duration(left / 1000)} left`);
  }
  progress.clear();
  return all;
}

/** What is in the books from a source, and by how much it was multiplied: once one number, unless older versions were told several. */
async function importedFrom(client: pg.Client, source: string): Promise<{ tokens: number; times: string[] }> {
  const [row] = await select<{ tokens: string; times: string[] }>(
    client,
    `select coalesce(sum(t.tokens - t.debt_change), 0)::text as tokens,
            coalesce(array_agg(distinct t.metadata ->> 'times') filter (where t.metadata ->> 'times' is not null), '{}') as times
       from public.token_transactions t
      where t.id = 1 and t.entry_type = 'opening_balance' and t.metadata ->> 'imported_from' = $1`,
    [source],
  );
  return { tokens: Number(row!.tokens), times: row!.times };
}

type Report = Done & {
  source: string;
  booked: boolean;
  times: string;
  rows: number;
  sum_in_source: string;
  checksum: string;
  users: number;
  tokens_from_it_before: number;
  tokens_from_it_after: number;
  seconds: number;
  notes: string[];
};

function asText(report: Report, last: string): string {
  const reasons = new Map<string, LeftOut[]>();
  for (const one of report.left_out) reasons.set(one.why, [...(reasons.get(one.why) ?? []), one]);
  const verb = report.booked ? "booked" : "to be booked";
  return [
    `From ${report.source}: ${count(report.rows, "row")}, ${report.sum_in_source} in all.`,
    ...report.notes.map((note) => `  ${note}`),
    `  ${verb.padEnd(14)} ${count(report.taken, "user")}, ${count(report.tokens, "token")} in ${count(report.grants, "grant")}${report.owed > 0 ? `, ${readable(report.owed)} owed` : ""}${report.without_balance > 0 ? `; ${readable(report.without_balance)} of the users with nothing` : ""}`,
    `  done before    ${count(report.done_before, "user")}`,
    `  not taken      ${readable(report.left_out.length)}`,
    ...[...reasons].map(([why, some]) => {
      const values = some.flatMap(({ value }) => (value === undefined ? [] : [JSON.stringify(value)]));
      const users = some.flatMap(({ user }) => (user === "" ? [] : [user]));
      return `    ${readable(some.length)}: ${why}${values.length === 0 ? "" : `, such as ${someOf(values)}`}${users.length === 0 ? "" : ` (${someOf(users)})`}${why === noSuchUser ? `; ${howNamed}` : ""}`;
    }),
    `  in the books from it: ${readable(report.tokens_from_it_before)} before, ${readable(report.tokens_from_it_after)} now`,
    `  checksum ${report.checksum}, ${report.seconds} s`,
    last,
  ].join("\n");
}

/** The first of them, each once. */
const someOf = (all: readonly string[]): string => {
  const each = [...new Set(all)];
  return `${each.slice(0, 3).join(", ")}${each.length > 3 ? ", …" : ""}`;
};

const howNamed =
  "--user-column names the column that has ids or addresses of auth.users, --mapping a file that says whose another system's are";

/** Whether and how the books follow a source that goes on changing; undefined, where nothing is to be said of it. */
async function howFollowed(client: pg.Client, { from, userColumn }: Options): Promise<string | undefined> {
  if (columnOfSource(from) === undefined || readGrantsTable(from) !== undefined) return undefined;
  try {
    const { place, counter } = await lookAt(client, { from, userColumn });
    await refuseStrangers(client, counter, place);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return `The books cannot follow what your app still writes there. ${error.message.replace(/ *Nothing was changed\.$/, "")}`;
  }
  return `While your app still writes it, the books can follow it: npx tokenbook shadow --from ${inShell(from)}${userColumn === undefined ? "" : ` --user-column ${inShell(userColumn)}`} --start`;
}

/** What there is to do next. */
function ending(
  { booked, taken, done_before, checksum }: Report,
  shadow: Shadow | undefined,
  follow: string | undefined,
): string {
  if (taken + done_before === 0) return "Nobody could be taken. Nothing was changed.";
  if (booked) {
    return `Compare at any time: the same without --book says who was done before.${
      follow === undefined ? "" : `\n${follow}`
    }`;
  }
  if (taken === 0)
    return "Nothing was changed, and there is nothing to book: everyone who can be was done before.";
  return shadow === undefined
    ? `Nothing was changed. To book exactly this: the same with --book --checksum ${checksum}`
    : `Nothing was changed. ${isFollowed(shadow)}`;
}
