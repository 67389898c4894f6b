import { statSync } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type pg from "pg";
import { ledgerCsv } from "../../../../supabase/functions/balance/ledger-csv.ts";
import { databaseCommand, onDatabase } from "../command.ts";
import { countTransactions, readHistory } from "../data/ledger.ts";
import { findUserId } from "../data/users.ts";
import { Failure } from "local-platform/terminal/failure";
import { createProgress, readable } from "../terminal/progress.ts";
import { stopsOnSignal } from "../terminal/stop.ts";
import { createVoice, type Voice } from "../terminal/voice.ts";
import { writeWholeFile } from "../terminal/whole-file.ts";

const progress = createProgress();

/** `tokenbook export`: a user's ledger as CSV. */
export const exportCommand = databaseCommand(
  "export",
  "A user's ledger as CSV, newest first.",
  "Into a file, whole or not at all; or to standard output. Each line is an entry of the ledger: when, what, how many tokens, the balance after it, who and why.",
)
  .requiredOption("--user <id or email>", "whose")
  .option("--output <file>", "the file; without it, standard output")
  .option("--json", "with --output: for machines, what was written")
  .action(async ({ user, output, json, ...where }) => {
    if (json && output === undefined)
      throw new Failure("--json says what was written: it goes with --output.");
    const stop = stopsOnSignal();
    if (output === undefined) warnOfNpm();
    await onDatabase(where, async (client) => {
      // A page that is being waited for would hold everything up.
      stop.addEventListener("abort", () => void client.end());
      try {
        await exportLedger(client, await findUserId(client, user), output, stop, createVoice(json));
      } catch (error) {
        if (stop.aborted) throw new Failure("Stopped: this is not the whole ledger.");
        throw error;
      } finally {
        progress.clear();
      }
    });
  });

async function exportLedger(
  client: pg.Client,
  userId: string,
  output: string | undefined,
  stop: AbortSignal,
  { say, answer }: Voice,
): Promise<void> {
  const total = await countTransactions(client, userId);
  let rows = 0;
  async function* texts() {
    for await (const piece of ledgerCsv((before) => readHistory(client, userId, before))) {
      rows += piece.rows;
      progress.show(`${readable(rows)} of ${readable(total)} transactions`);
      yield piece.text;
    }
  }

  if (output === undefined) {
    try {
      await pipeline(Readable.from(texts()), process.stdout, { end: false, signal: stop });
    } catch (error) {
      // The reader of the pipe has enough, as `head` has.
      if ((error as NodeJS.ErrnoException).code !== "EPIPE") throw error;
    }
    progress.clear();
    return;
  }
  await writeWholeFile(output, texts(), stop);
  progress.clear();
  const bytes = statSync(output).size;
  say(`${readable(rows)} transactions of ${userId} are in ${output} (${(bytes / 1e6).toFixed(1)} MB).`);
  answer({ user_id: userId, output, transactions: rows, bytes });
}

/** npm's own words would be the first lines of the file. */
function warnOfNpm(): void {
  const { npm_lifecycle_event: command, npm_config_loglevel: words } = process.env;
  if (command === "export" && words !== "silent" && !process.stdout.isTTY) {
    console.error(
      "npm has put lines of its own in front of the CSV. Use npm run --silent export, or --output <file>.",
    );
  }
}
