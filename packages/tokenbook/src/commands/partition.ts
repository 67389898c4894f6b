import { databaseCommand, onDatabase, Refusal, wholeNumber } from "../command.ts";
import {
  analyze,
  begin,
  cancel as cancelIt,
  compare,
  copy,
  exchange,
  partitionsOf,
  waitForOldReaders,
} from "../data/partitions.ts";
import { agrees } from "../terminal/ask.ts";
import { count, createProgress, duration, readable } from "../terminal/progress.ts";
import { createVoice } from "../terminal/voice.ts";

/** `tokenbook partition`: the ledger in more tables than one, while it is being written. */
export const partition = databaseCommand(
  "partition",
  "The ledger in so many partitions, by user, while it is being used.",
  `Without a number it says how many there are. The new ones are filled beside the ledger, compared with it entry by
entry, and put in its place in one short transaction. What it needs meanwhile is the ledger's size once more on the disk.
Stopped, the same command goes on where it was; --cancel drops what was begun.`,
)
  .argument("[number]", "how many partitions, 1 to 64", wholeNumber(1, "partitions", 64))
  .option("--cancel", "drops what an earlier run began")
  .option("--yes", "does not ask")
  .option("--json", "for machines")
  .action(async (number, { cancel, yes, json, ...where }) => {
    const { say, answer } = createVoice(json);
    const progress = createProgress(process.stderr, { inLogs: true });
    await onDatabase(where, async (client, target) => {
      const was = await partitionsOf(client);
      if (cancel) {
        await cancelIt(client);
        say(
          was.begun === null
            ? "Nothing was begun."
            : `What was begun is dropped: ${count(was.number, "partition")}, as it was.`,
        );
        answer({ partitions: was.number, cancelled: was.begun });
        return;
      }
      if (number === undefined) {
        say(
          `The ledger has ${count(was.number, "partition")}, about ${readable(was.entries)} entries and ${megabytes(was.bytes)} with its indexes.` +
            (was.begun === null
              ? ""
              : `\nA change to ${was.begun} was begun and is not at its end: npx tokenbook partition ${was.begun}, or --cancel.`),
        );
        answer({ partitions: was.number, entries: was.entries, bytes: was.bytes, begun: was.begun });
        return;
      }
      if (was.begun !== null && was.begun !== number)
        throw new Refusal(
          `A change to ${was.begun} partitions was begun: end it with that number, or --cancel it.`,
        );
      if (was.begun === null && was.number === number) {
        say(`The ledger has ${count(number, "partition")} already.`);
        answer({ partitions: number, changed: false });
        return;
      }
      if (!yes)
        await agrees(
          `Copy the ledger of ${target.name} (${megabytes(was.bytes)}) into ${count(number, "partition")}, and put them in its place?`,
        );

      const started = performance.now();
      try {
        if (was.begun !== null && !was.isCopied) await cancelIt(client);
        if (!was.isCopied) await begin(client, number);
        for await (const part of copy(client)) {
          const seconds = (performance.now() - started) / 1000;
          const left = part > 0.01 ? `, ${duration((seconds / part) * (1 - part))} left` : "";
          progress.show(`copied ${Math.floor(part * 100)} %${left}`);
        }
        const same = await compare(client, (name) => progress.show(`comparing ${name}`));
        await waitForOldReaders(client, 600, (pid) =>
          progress.show(`waiting for process ${pid}, which reads the ledger as it was`),
        );
        const heldMs = await exchange(client, number);
        progress.show("statistics");
        await analyze(client);
        progress.clear();
        say(
          `The ledger has ${count(number, "partition")} now: ${readable(same.entries)} entries compared, digest ${same.digest}, exchanged in ${heldMs} ms, ${duration((performance.now() - started) / 1000)} in all.`,
        );
        answer({
          partitions: number,
          changed: true,
          entries: same.entries,
          digest: same.digest,
          exchanged_in_ms: heldMs,
        });
      } finally {
        progress.clear();
      }
    });
  });

const megabytes = (bytes: number): string =>
  bytes < 1e9 ? `${readable(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
