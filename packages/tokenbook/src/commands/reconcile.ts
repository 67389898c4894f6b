import { databaseCommand, exit, onDatabase, wholeNumber } from "../command.ts";
import type { SqlClient } from "../data/client.ts";
import {
  countAccounts,
  findDiscrepancies,
  findUsers,
  reconcileUser,
  scenarios,
  userAfter,
} from "../data/discrepancies.ts";
import type { Finding, Reconciliation } from "../client/answers.ts";
import type { Discrepancy } from "../data/discrepancies.ts";
import { repair } from "../data/repair.ts";
import { planRepair } from "../data/repair-plan.ts";
import type { Repaired } from "../data/repair.ts";
import { Failure } from "local-platform/terminal/failure";
import { asCsv, asJson, asSum, asTable } from "../reports/discrepancy.ts";
import type { Report } from "../reports/discrepancy.ts";
import { asks, requireSomebody } from "../terminal/ask.ts";
import { count, createProgress, duration, readable } from "../terminal/progress.ts";

/** How many accounts are gone through in one query. */
const pieceSize = 1000;

interface Options {
  user?: string | undefined;
  threshold: number;
  ignore: string[];
  fix?: true | undefined;
  yes?: true | undefined;
  json?: true | undefined;
  csv?: true | undefined;
}

/** `tokenbook reconcile`: whether balances are what was recorded. */
export const reconcile = databaseCommand(
  "reconcile",
  "Compares balances with what was recorded, and says what is wrong where they differ.",
  `Everyone, the worst first; or one user, line by line. With --fix it asks, then books an adjustment for each difference.
Ends with 0 when there is no discrepancy, 1 when some remain, 2 when it could not be told.`,
)
  .option("--user <id or email>", "one user, line by line")
  .option(
    "--threshold <tokens>",
    "leaves out findings of so many tokens or fewer",
    wholeNumber(0, "tokens"),
    100,
  )
  .option(
    "--ignore <scenario>",
    `leaves a scenario out; may be repeated: ${scenarios.join(", ")}`,
    (name: string, before: string[]) => [...before, name],
    [],
  )
  .option("--fix", "asks, then books an adjustment for each difference")
  .option("--yes", "with --fix: does not ask")
  .option("--json", "for machines")
  .option("--csv", "for spreadsheets")
  .action(async (options) => {
    const unknown = options.ignore.filter((name) => !(scenarios as readonly string[]).includes(name));
    if (unknown.length > 0) throw new Failure(`There is no scenario ${unknown.join(", ")}.`);
    if (options.json && options.csv) throw new Failure("Either --json or --csv.");
    if (options.yes && !options.fix) throw new Failure("--yes answers what only --fix asks.");
    if (options.fix && !options.yes) requireSomebody();
    await onDatabase(options, (client) => run(client, options));
  });

async function run(client: SqlClient, options: Options): Promise<void> {
  const counts = (finding: Finding) =>
    (finding.tokens > options.threshold || finding.cents !== undefined) &&
    !options.ignore.includes(finding.scenario);
  const one = options.user === undefined ? undefined : await findOne(client, options.user);
  const all = one
    ? { users: 1, found: [{ ...one.found, email: one.email }] }
    : await goThroughEveryone(client, options.threshold);
  const discrepancies = all.found
    .map((row) => ({ ...row, findings: row.findings.filter(counts) }))
    .filter((row) => row.findings.length > 0)
    .toSorted(worstFirst);
  const report: Report = {
    users: all.users,
    threshold: options.threshold,
    discrepancies,
    remaining: discrepancies.length,
  };

  const isForPeople = !options.json && !options.csv;
  if (isForPeople) {
    console.log(one ? asSum(one.found, one.email) : summary(report));
  }
  if (options.fix && discrepancies.length > 0) {
    report.repairs = await fix(client, discrepancies, options);
    report.remaining = 0;
    for (const { user_id } of discrepancies) {
      if ((await reconcileUser(client, user_id)).findings.some(counts)) report.remaining++;
    }
    if (isForPeople && report.repairs.length > 0) {
      const booked = report.repairs.filter(({ delta }) => delta !== 0);
      const sum = booked.reduce((total, { delta }) => total + delta, 0);
      console.log(
        `\n${count(booked.length, "adjustment")} booked, ${sum.toLocaleString("en")} tokens in all; ` +
          `${count(report.remaining, "user")} with a discrepancy ${report.remaining === 1 ? "remains" : "remain"}.`,
      );
    }
  }
  if (options.json) console.log(asJson(report));
  if (options.csv) console.log(asCsv(report));
  process.exitCode = report.remaining > 0 ? exit.wrong : exit.right;
}

function summary(report: Report): string {
  const { discrepancies, users, threshold } = report;
  const checked = `${count(users, "user")} checked, `;
  if (discrepancies.length === 0) return `${checked}no discrepancy above ${threshold} tokens.`;
  return `${asTable(report)}\n\n${checked}${discrepancies.length} with a discrepancy above ${threshold} tokens.`;
}

async function findOne(
  client: SqlClient,
  idOrEmail: string,
): Promise<{ email: string | null; found: Reconciliation }> {
  const [user, ...others] = await findUsers(client, idOrEmail);
  if (user === undefined) throw new Failure(`There is no user ${idOrEmail}.`);
  if (others.length > 0) {
    throw new Failure(
      `Several users have the address ${idOrEmail}: ${[user, ...others].map(({ id }) => id).join(", ")}.`,
    );
  }
  return { email: user.email, found: await reconcileUser(client, user.id) };
}

/** Piece by piece: each is one snapshot, and none keeps the database busy for long. */
async function goThroughEveryone(
  client: SqlClient,
  threshold: number,
): Promise<{ users: number; found: Discrepancy[] }> {
  const users = await countAccounts(client);
  const found: Discrepancy[] = [];
  const progress = createProgress(process.stderr, { inLogs: true });
  const begin = performance.now();
  let after: string | null = null;
  try {
    for (let checked = pieceSize; ; checked += pieceSize) {
      const until = await userAfter(client, after, pieceSize);
      found.push(...(await findDiscrepancies(client, { threshold, after, until })));
      if (until === null) break;
      const left = ((performance.now() - begin) / checked / 1000) * Math.max(users - checked, 0);
      progress.show(`${readable(checked)} of ${count(users, "user")} checked, about ${duration(left)} left`);
      after = until;
    }
  } finally {
    progress.clear();
  }
  return { users, found };
}

async function fix(
  client: SqlClient,
  discrepancies: Discrepancy[],
  { yes, json, csv }: Options,
): Promise<Repaired[]> {
  const say = (text: string) => (json || csv ? console.error(text) : console.log(text));
  const nameOf = (id: string) => discrepancies.find((row) => row.user_id === id)?.email ?? id;
  const plans = [];
  for (const { user_id } of discrepancies) plans.push(planRepair(await reconcileUser(client, user_id)));

  say("\nTo repair this:");
  for (const plan of plans) {
    say(
      "key" in plan
        ? `  ${nameOf(plan.userId)}: book ${plan.delta.toLocaleString("en")}, "${plan.reason}"`
        : `  ${nameOf(plan.userId)}: nothing (${plan.why})`,
    );
  }
  const wanted = plans.filter(({ delta }) => delta !== 0);
  if (wanted.length === 0) return [];
  if (!yes && !(await asks(`Book ${count(wanted.length, "adjustment")}?`))) {
    say("Nothing was booked.");
    return [];
  }
  const done: Repaired[] = [];
  for (const { userId, delta } of plans) {
    const repaired = await repair(client, userId);
    done.push(repaired);
    if (delta !== 0) say(`  ${nameOf(userId)}: ${repaired.outcome}`);
  }
  return done;
}

function worstFirst(a: Discrepancy, b: Discrepancy): number {
  return (
    Math.abs(b.remaining_difference) - Math.abs(a.remaining_difference) ||
    Math.abs(b.used_difference) - Math.abs(a.used_difference) ||
    a.user_id.localeCompare(b.user_id)
  );
}
