/* npm run checkpoint -- --output <file> [--user <id or email>] [--remote <url>] */
import { parseArgs } from "node:util";
import { existsSync } from "node:fs";
import type pg from "pg";
import { digestLine } from "./checkpoint-file.ts";
import { UserNotFound } from "./data/admins.ts";
import { takeCheckpoint } from "./data/checkpoint.ts";
import { findUserId } from "./data/users.ts";
import { asDatabaseFailure } from "./database-failure.ts";
import { Failure, reportFailure } from "local-platform/terminal/failure";
import { createProgress, duration, readable } from "./progress.ts";
import { chooseTarget, withTarget } from "./target.ts";
import { writeWholeFile } from "./whole-file.ts";

const usage = `What the ledger is now, to be proved later: docs/guides/tamper-evidence.md.
It reads what is new since the last checkpoint, a piece at a time, while the system is being used.

  npm run checkpoint -- --output <file>                          everybody
  npm run checkpoint -- --output <file> --user <id or email>     one user

Keep the file, and apart from it the digest that is printed. To compare the ledger with it:

  npm run verify -- --checkpoint <file> --digest <digest>

The database is the local one, unless SUPABASE_DB_URL or --remote <connection string> names another.`;

/** How many entries a call reads: a second's work at most. */
const entriesAPage = 50_000;

const progress = createProgress(process.stderr, { inLogs: true });
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => stop.abort());

try {
  const { user, output, remote } = readArguments();
  // an older one vouches for what a newer one cannot: it is never replaced
  if (existsSync(output)) throw new Failure(`${output} is there. A checkpoint is kept: give another name.`);
  const target = chooseTarget(remote ?? (process.env["SUPABASE_DB_URL"] || undefined));
  await withTarget(target, async (client) => {
    // A page that is being waited for would hold everything up.
    stop.signal.addEventListener("abort", () => void client.end());
    try {
      await writeCheckpoint(client, user === undefined ? null : await findUserId(client, user), output);
    } catch (error) {
      if (error instanceof UserNotFound) throw new Failure(`${error.message} (${target.name})`);
      if (stop.signal.aborted)
        throw new Failure("Stopped: there is no file. What was read need not be read again.");
      throw asDatabaseFailure(error, target.name);
    }
  });
} catch (error) {
  progress.clear();
  reportFailure(error);
}

async function writeCheckpoint(client: pg.Client, userId: string | null, output: string): Promise<void> {
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
  await writeWholeFile(output, texts(), stop.signal);
  progress.clear();
  const who = userId ?? `${readable(users)} user${users === 1 ? "" : "s"}`;
  const time = duration((performance.now() - begin) / 1000);
  const what = entries === 1 ? "1 entry" : `${readable(entries)} entries`;
  console.log(
    `${what} of ${who} ${entries === 1 ? "is" : "are"} in the checkpoint ${output}, ${readable(read)} new (${time}).`,
  );
  console.log(`Keep its digest apart from it and from the database:\n\n  ${digest}\n`);
}

function readArguments() {
  try {
    const { values } = parseArgs({
      options: { user: { type: "string" }, output: { type: "string" }, remote: { type: "string" } },
    });
    if (!values.output) throw new Error("Into which file?");
    return { ...values, output: values.output };
  } catch (error) {
    throw new Failure(`${(error as Error).message}\n\n${usage}`);
  }
}
