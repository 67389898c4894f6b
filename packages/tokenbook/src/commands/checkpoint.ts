import { existsSync } from "node:fs";
import type pg from "pg";
import { databaseCommand, onDatabase } from "../command.ts";
import { digestLine } from "../data/checkpoint-file.ts";
import { takeCheckpoint } from "../data/checkpoint.ts";
import { findUserId } from "../data/users.ts";
import { Failure } from "local-platform/terminal/failure";
import { createProgress, duration, readable } from "../terminal/progress.ts";
import { stopsOnSignal } from "../terminal/stop.ts";
import { createVoice, type Voice } from "../terminal/voice.ts";
import { writeWholeFile } from "../terminal/whole-file.ts";

/** How many entries a call reads: a second's work at most. */
const entriesAPage = 50_000;

const progress = createProgress(process.stderr, { inLogs: true });

/** `tokenbook checkpoint`: what the ledger is now, to be proved later. */
export const checkpoint = databaseCommand(
  "checkpoint",
  "Writes down what the ledger is now, to be proved later.",
  `It reads what is new since the last checkpoint, a piece at a time, while the system is being used. Keep the file, and
apart from it the digest that is printed. To compare the ledger with it: tokenbook verify --checkpoint <file>
--digest <digest>.`,
)
  .requiredOption("--output <file>", "the checkpoint; never one that is there")
  .option("--user <id or email>", "of one user")
  .option("--json", "for machines")
  .action(async ({ user, output, json, ...where }) => {
    // an older one vouches for what a newer one cannot: it is never replaced
    if (existsSync(output)) throw new Failure(`${output} is there. A checkpoint is kept: give another name.`);
    const stop = stopsOnSignal();
    await onDatabase(where, async (client) => {
      // A page that is being waited for would hold everything up.
      stop.addEventListener("abort", () => void client.end());
      try {
        const userId = user === undefined ? null : await findUserId(client, user);
        await writeCheckpoint(client, userId, output, stop, createVoice(json));
      } catch (error) {
        if (stop.aborted)
          throw new Failure("Stopped: there is no file. What was read need not be read again.");
        throw error;
      } finally {
        progress.clear();
      }
    });
  });

async function writeCheckpoint(
  client: pg.Client,
  userId: string | null,
  output: string,
  stop: AbortSignal,
  { say, answer }: Voice,
): Promise<void> {
  const begin = performance.now();
  let users = 0;
  let entries = 0;
  let read = 0;
  let digest = "";
  async function* texts() {
    for await (const page of takeCheckpoint(client, userId, entriesAPage)) {
      users += page.users;
      entries += page.entries;
      read += page.entries_read;
      digest = page.digest;
      progress.show(`${readable(users)} users, ${readable(read)} new entries`);
      yield page.lines.map((line) => `${line}\n`).join("");
    }
    yield digestLine(digest);
  }
  await writeWholeFile(output, texts(), stop);
  progress.clear();
  const who = userId ?? `${readable(users)} user${users === 1 ? "" : "s"}`;
  const time = duration((performance.now() - begin) / 1000);
  const what = entries === 1 ? "1 entry" : `${readable(entries)} entries`;
  say(
    `${what} of ${who} ${entries === 1 ? "is" : "are"} in the checkpoint ${output}, ${readable(read)} new (${time}).`,
  );
  say(`Keep its digest apart from it and from the database:\n\n  ${digest}\n`);
  answer({ output, digest, users, entries, new_entries: read });
}
