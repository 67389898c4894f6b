/* npm run export -- --user <id or email> [--output <file>] [--remote <url>] */
import { statSync } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { parseArgs } from "node:util";
import type pg from "pg";
import { ledgerCsv } from "../supabase/functions/balance/ledger-csv.ts";
import { UserNotFound } from "./data/admins.ts";
import { countTransactions, readHistory } from "./data/ledger.ts";
import { findUserId } from "./data/users.ts";
import { asDatabaseFailure } from "./database-failure.ts";
import { Failure, reportFailure } from "local-platform/terminal/failure";
import { createProgress, readable } from "./progress.ts";
import { chooseTarget, withTarget } from "./target.ts";
import { writeWholeFile } from "./whole-file.ts";

const usage = `A user's ledger as CSV, newest first: docs/guides/export.md says what is in it.

  npm run export -- --user <id or email> --output <file>     into a file, whole or not at all
  npm run --silent export -- --user <id or email>            to standard output

The database is the local one, unless SUPABASE_DB_URL or --remote <connection string> names another.`;

const progress = createProgress();
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => stop.abort());

try {
  const { user, output, remote } = readArguments();
  const target = chooseTarget(remote ?? (process.env["SUPABASE_DB_URL"] || undefined));
  if (output === undefined) warnOfNpm();
  await withTarget(target, async (client) => {
    // A page that is being waited for would hold everything up.
    stop.signal.addEventListener("abort", () => void client.end());
    try {
      await exportLedger(client, await findUserId(client, user), output);
    } catch (error) {
      throw asFailure(error, target.name);
    }
  });
} catch (error) {
  progress.clear();
  reportFailure(error);
}

async function exportLedger(client: pg.Client, userId: string, output: string | undefined): Promise<void> {
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
      await pipeline(Readable.from(texts()), process.stdout, { end: false, signal: stop.signal });
    } catch (error) {
      // Whoever reads has enough, as `head` has.
      if ((error as NodeJS.ErrnoException).code !== "EPIPE") throw error;
    }
    progress.clear();
    return;
  }
  await writeWholeFile(output, texts(), stop.signal);
  progress.clear();
  const megabytes = (statSync(output).size / 1e6).toFixed(1);
  console.log(`${readable(rows)} transactions of ${userId} are in ${output} (${megabytes} MB).`);
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

function readArguments() {
  try {
    const { values } = parseArgs({
      options: { user: { type: "string" }, output: { type: "string" }, remote: { type: "string" } },
    });
    if (!values.user) throw new Error("Whose ledger?");
    return { ...values, user: values.user };
  } catch (error) {
    throw new Failure(`${(error as Error).message}\n\n${usage}`);
  }
}

function asFailure(error: unknown, where: string): unknown {
  if (error instanceof UserNotFound) return new Failure(`${error.message} (${where})`);
  if (stop.signal.aborted) return new Failure("Stopped: this is not the whole ledger.");
  return asDatabaseFailure(error, where);
}
