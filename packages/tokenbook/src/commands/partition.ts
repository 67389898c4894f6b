import { Option } from "@commander-js/extra-typings";
import type pg from "pg";
import { databaseCommand, onDatabase, pastDay, Refusal, wholeNumber } from "../command.ts";
import {
  analyze,
  begin,
  cancel as cancelIt,
  compare,
  copy,
  exchange,
  isOfPlan,
  ledger,
  partitionsOf,
  planJoined,
  planByTime,
  planByUser,
  spans,
  usage as uses,
  waitForOldReaders,
  type Partition,
  type Partitioned,
  type Partitions,
  type Plan,
} from "../data/partitions.ts";
import { isOnlyRun } from "../data/client.ts";
import { agrees } from "../terminal/ask.ts";
import { count, createProgress, duration, readable } from "../terminal/progress.ts";
import { createVoice, type Voice } from "../terminal/voice.ts";

/** `tokenbook partition`: the ledger, or the usage, in more tables than one, while it is being written. */
export const partition = databaseCommand(
  "partition",
  "The ledger in so many partitions by user, or the usage in partitions by time, while it is being used.",
  `Without a number, --by or --join it says what there is. The new ones are filled beside the table, compared with it row by
row, and put in its place in one short transaction. What it needs meanwhile is the size of what it copies once more on the disk.
Stopped, the same command goes on where it was; --cancel drops what was begun.

With --usage --by month the last partition of the usage, which has no end, is split as far as now: the same command again
splits what has grown since. --join <day> puts those that end by that day together in one: the space of what was taken out
of them into archives goes back to the disk.`,
)
  .argument(
    "[number]",
    "how many partitions the ledger is to have, 1 to 64",
    wholeNumber(1, "partitions", 64),
  )
  .option("--usage", "the usage, in place of the ledger")
  .addOption(new Option("--by <span>", "with --usage: the time of one partition").choices(spans))
  .option("--join <day>", "with --usage: those that end by that day become one", pastDay)
  .option("--cancel", "drops what an earlier run began")
  .option("--yes", "does not ask")
  .option("--json", "for machines")
  .action(async (number, { usage, by, join, cancel, yes, json, ...where }) => {
    if (!usage && (by ?? join) !== undefined)
      throw new Refusal("--by and --join are of the usage: with --usage.");
    if (usage && number !== undefined)
      throw new Refusal("The usage is in partitions by time: --by or --join, and no number.");
    if (by !== undefined && join !== undefined)
      throw new Refusal(
        "--by splits the last partition, --join puts old ones together: one after the other.",
      );
    const of = usage ? uses : ledger;
    const voice = createVoice(json);
    const { say, answer } = voice;
    await onDatabase(where, async (client, target) => {
      const was = await partitionsOf(client, of);
      const asks = cancel || (number ?? by ?? join) !== undefined;
      if (asks && !(await isOnlyRun(client, `partition ${of.name}`)))
        throw new Refusal(
          `Another run changes the partitions of the ${of.what} just now. Nothing was changed.`,
        );
      if (cancel) {
        await cancelIt(client, of);
        say(
          was.begun === null
            ? "Nothing was begun."
            : `What was begun is dropped: ${count(was.parts.length, "partition")}, as it was.`,
        );
        answer({ partitions: was.parts.length, cancelled: was.begun === null ? null : was.begun.length });
        return;
      }
      if (!asks) {
        describe(of, was, voice);
        return;
      }
      let plan: Plan | undefined;
      if (by !== undefined) plan = await planByTime(client, by);
      else if (join !== undefined) plan = await planJoined(client, join);
      else if (was.parts.length !== number) plan = await planByUser(client, number!);
      if (was.begun !== null && was.isCopied && !isOfPlan(was.begun, plan))
        throw new Refusal(
          `Another change, to ${count(was.begun.length, "partition")}, was begun: end it with the command that began it, or --cancel it.`,
        );
      if (plan === undefined) {
        if (by !== undefined) say(`The last partition of the usage is of one ${by}: nothing to split.`);
        else if (join !== undefined)
          say(`No partition of the usage ends by ${join.slice(0, 10)}: nothing to join.`);
        else say(`The ledger has ${count(number!, "partition")} already.`);
        answer({ partitions: was.parts.length, changed: false });
        return;
      }
      // what was begun and copies nothing yet is made anew
      if (was.begun !== null && !was.isCopied) await cancelIt(client, of);
      if (!yes) {
        const copied = was.parts.filter(({ name }) => plan.old.includes(name));
        await agrees(
          `Copy the ${of.what} of ${target.name} (${megabytes(copied)}) into ${count(plan.parts.length, "partition")}, and put them in its place?`,
        );
      }
      await change(client, of, was.isCopied ? undefined : plan, voice);
    });
  });

/** Makes what is planned, or goes on with what was begun, to its end. */
async function change(
  client: pg.Client,
  of: Partitioned,
  plan: Plan | undefined,
  { say, answer }: Voice,
): Promise<void> {
  const progress = createProgress(process.stderr, { inLogs: true });
  const started = performance.now();
  try {
    if (plan !== undefined) await begin(client, of, plan);
    for await (const part of copy(client, of)) {
      const seconds = (performance.now() - started) / 1000;
      const left = part > 0.01 ? `, ${duration((seconds / part) * (1 - part))} left` : "";
      progress.show(`copied ${Math.floor(part * 100)} %${left}`);
    }
    const same = await compare(client, of, (name) => progress.show(`comparing ${name}`));
    await waitForOldReaders(client, of, 600, (pid) =>
      progress.show(`waiting for process ${pid}, which reads the ${of.what} as it was`),
    );
    const heldMs = await exchange(client, of);
    progress.show("statistics");
    await analyze(client, of);
    progress.clear();
    const number = (await partitionsOf(client, of)).parts.length;
    say(
      `The ${of.what} has ${count(number, "partition")} now: ${readable(same.rows)} ${of.rows} compared, digest ${same.digest}, exchanged in ${heldMs} ms, ${duration((performance.now() - started) / 1000)} in all.`,
    );
    answer({
      partitions: number,
      changed: true,
      [of.rows]: same.rows,
      digest: same.digest,
      exchanged_in_ms: heldMs,
    });
  } finally {
    progress.clear();
  }
}

/** What there is. */
function describe(of: Partitioned, { parts, begun }: Partitions, { say, answer }: Voice): void {
  const rows = parts.reduce<number | null>(
    (sum, part) => (sum === null || part.rows === null ? null : sum + part.rows),
    0,
  );
  const counted = rows === null ? "" : `about ${readable(rows)} ${of.rows} and `;
  say(
    `The ${of.what} has ${count(parts.length, "partition")}, ${counted}${megabytes(parts)} with its indexes.`,
  );
  if (of === uses)
    for (const part of parts)
      say(`  ${part.name}: ${part.bound.replace("FOR VALUES ", "").toLowerCase()}, ${megabytes([part])}`);
  if (begun !== null)
    say(
      `A change to ${begun.length} was begun and is not at its end: ${of === ledger ? `npx tokenbook partition ${begun.length}` : "the same command again"}, or --cancel.`,
    );
  answer({
    partitions: parts.length,
    [of.rows]: rows,
    bytes: parts.reduce((sum, part) => sum + part.bytes, 0),
    begun: begun === null ? null : begun.length,
    ...(of === uses ? { parts } : {}),
  });
}

function megabytes(parts: Partition[]): string {
  const bytes = parts.reduce((sum, part) => sum + part.bytes, 0);
  return bytes < 1e9 ? `${readable(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}
