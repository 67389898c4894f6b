import { existsSync } from "node:fs";
import { databaseCommand, onDatabase, pastDay, Refusal, wholeNumber } from "../command.ts";
import {
  endArchive,
  goThrough,
  type Left,
  leftBefore,
  readArchive,
  registerArchive,
  weighArchive,
  writeArchive,
} from "../data/archive.ts";
import { partitionsOf, planJoined, usage } from "../data/partitions.ts";
import { agrees } from "../terminal/ask.ts";
import { count, createProgress, duration, readable } from "../terminal/progress.ts";
import { createVoice } from "../terminal/voice.ts";

/** `tokenbook archive`: old usage in a file. */
export const archive = databaseCommand(
  "archive",
  "Moves usage that is older than a day to a file, or back, while the project is being used.",
  `The file is written and read back before anything is taken out of token_usage, and a use is taken out only where the
file has it as the table does. What reports and repeated calls need stays in the database, and the ledger as it is. Stopped,
the same command goes on where it was. A use that is not booked as the ledger says stays in the table.

The file has what was written about people: keep it, or erase it, as you would the table. Without it the usage
cannot be restored, and everything else goes on.`,
)
  .argument("<file>", "the archive: JSON, a line a use")
  .option("--before <day>", "uses before that day (UTC), as 2026-01-31", pastDay)
  .option("--restore", "puts the uses of the file back")
  .option("--page <lines>", "how many uses in a transaction", wholeNumber(1, "uses", 20_000), 5_000)
  .option("--yes", "does not ask")
  .option("--json", "for machines")
  .action(async (path, { before, restore, page, yes, json, ...where }) => {
    if (restore && before !== undefined)
      throw new Refusal("--restore puts back what the file has, whatever its days: leave out --before.");
    if (!restore && before === undefined)
      throw new Refusal(
        "Give --before <day> to move usage to the file, or --restore to put back what the file has.",
      );
    const { say, answer } = createVoice(json);
    const progress = createProgress(process.stderr, { inLogs: true });
    const direction = restore ? "restore" : "archive";
    await onDatabase(where, async (client, target) => {
      await client.query("set timezone = 'UTC'");
      // what is deleted meanwhile would be missed by those partitions, and they be refused in the end
      if ((await partitionsOf(client, usage)).begun !== null)
        throw new Refusal(
          "The usage is being changed into other partitions: end that first, with the command that began it, or --cancel it.",
        );
      const started = performance.now();
      try {
        if (!restore && !yes)
          await agrees(
            `Move the usage of ${target.name} before ${before!.slice(0, 10)} to ${path}${existsSync(path) ? ", which is there already" : ""}, and take it out of the database?`,
          );
        if (!restore && !existsSync(path)) {
          const uses = await writeArchive(client, path, before!, page, (written) =>
            progress.show(`written ${readable(written)}`),
          );
          if (uses === 0) {
            const left = await leftBefore(client, before!);
            progress.clear();
            say(`Nothing is to be archived: ${stays(left, before!)}`);
            answer({ file: path, uses: 0, archived: 0, left });
            return;
          }
          progress.clear();
          say(`Written: ${path}, ${count(uses, "use")}.`);
        }

        const file = await readArchive(path);
        if (!restore && file.used_before !== before)
          throw new Refusal(`${path} is there, and has the uses before ${file.used_before.slice(0, 10)}.`);
        const was = await weighArchive(client, path, page);
        if (was.uses !== file.uses || was.tokens !== file.tokens || was.cost_cents !== file.cost_cents)
          throw new Refusal(
            `invalid_usage_archive: ${path} says ${file.uses} uses of ${file.tokens} tokens, and has others.`,
          );
        progress.clear();
        say(
          `Read back: digest ${file.digest}, ${readable(Number(file.tokens))} tokens, known costs of ${file.cost_cents} cents.`,
        );
        if (!restore) await registerArchive(client, path, file);

        let moved = 0;
        for await (const some of goThrough(client, path, file, page, direction)) {
          moved += some;
          progress.show(
            `${direction === "archive" ? "archived" : "restored"} ${readable(moved)} of ${readable(file.uses)}`,
          );
        }
        await endArchive(client, file, direction);
        const is = await weighArchive(client, path, page);
        progress.clear();
        if (is.entries !== was.entries || is.entries_digest !== was.entries_digest)
          throw new Refusal(
            `The ledger's entries of these uses were ${was.entries} (${was.entries_digest}), and are ${is.entries} (${is.entries_digest}).`,
          );
        say(
          `${restore ? "Restored" : "Archived"}: ${count(moved, "use")} of ${readable(file.uses)}${moved < file.uses ? " (the others were before, or are not what the file says)" : ""}, ${duration((performance.now() - started) / 1000)} in all. The ledger has ${readable(was.entries)} ${was.entries === 1 ? "entry" : "entries"} of them, digest ${was.entries_digest} before and ${is.entries_digest} after.`,
        );
        const left = restore ? undefined : await leftBefore(client, before!);
        if (left !== undefined) say(stays(left, before!));
        if (!restore && (await planJoined(client, before!)) !== undefined)
          say(
            `To give its space back to the disk: npx tokenbook partition --usage --join ${before!.slice(0, 10)}`,
          );
        answer({
          file: path,
          digest: file.digest,
          uses: file.uses,
          [restore ? "restored" : "archived"]: moved,
          tokens: file.tokens,
          cost_cents: file.cost_cents,
          ...(left === undefined ? {} : { left }),
          ledger: {
            entries: was.entries,
            digest_before: was.entries_digest,
            digest_after: is.entries_digest,
          },
        });
      } finally {
        progress.clear();
      }
    });
  });

/** What stays in the table, and why. */
function stays({ uses, unbooked, of_admins, of_test_users }: Left, before: string): string {
  const day = before.slice(0, 10);
  if (uses === 0) return `No use before ${day} is in the table.`;
  const kinds = [
    ...(unbooked > 0 ? [`${readable(unbooked)} that no entry of the ledger is of`] : []),
    ...(of_admins > 0 ? [`${readable(of_admins)} of an admin's corrections`] : []),
    ...(of_test_users > 0 ? [`${readable(of_test_users)} of test users`] : []),
  ];
  return `${count(uses, "use")} before ${day} ${uses === 1 ? "stays" : "stay"} in the table${kinds.length === 0 ? "" : `, among them ${kinds.join(", ")}`}: docs/guides/scale.md says what stays.`;
}
