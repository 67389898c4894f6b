/* npm run verify [-- --user <id or email>] [--after <user id>] [--checkpoint <file>] [--json] [--remote <url>] */
import { parseArgs } from "node:util";
import { openCheckpoint } from "./checkpoint-file.ts";
import type { CheckpointFile } from "./checkpoint-file.ts";
import { UserNotFound } from "./data/admins.ts";
import { verifyCheckpointInPieces } from "./data/checkpoint.ts";
import type { SqlClient } from "./data/client.ts";
import { findUserId, isUserId } from "./data/users.ts";
import { countUsers, verifyInPieces, verifyUser } from "./data/verification.ts";
import type { Piece } from "./data/verification.ts";
import { asDatabaseFailure } from "./database-failure.ts";
import { Failure, reportFailure } from "local-platform/terminal/failure";
import { createProgress, duration, readable } from "./progress.ts";
import { chooseTarget, withTarget } from "./target.ts";
import { createVerifyReport } from "./verify-report.ts";
import type { VerifyReport } from "./verify-report.ts";

const usage = `Whether the books are right: which invariant is broken, where, what was expected and what was found.
It reads only, a piece of the users at a time, while the system is being used.

  npm run verify                                 everybody
  npm run verify -- --user <id or email>         one user
  npm run verify -- --after <user id>            goes on where a run was stopped
  npm run --silent verify -- --json              for machines
  npm run verify -- --piece <transactions>       how much at a time, in one snapshot (50000)
  npm run verify -- --checkpoint <file> --digest <digest>
                                                 whether the ledger is what npm run checkpoint wrote down

The database is the local one, unless SUPABASE_DB_URL or --remote <connection string> names another.
Ends with 0 when the books are right, 1 when they are not, 2 when that could not be found out.`;

/** Nothing is known of the books: the run was stopped, or could not begin. */
const noVerdict = 2;

const progress = createProgress(process.stderr, { inLogs: true });
let isStopped = false;

try {
  const { user, after, json, piece, remote, checkpoint, digest } = readArguments();
  const file = checkpoint === undefined ? undefined : await openCheckpoint(checkpoint, digest);
  const target = chooseTarget(remote ?? (process.env["SUPABASE_DB_URL"] || undefined));
  const report = createVerifyReport(process.stdout, json, file && "The ledger is as it was");
  await withTarget(target, async (client) => {
    try {
      if (file !== undefined) await verifyCheckpoint(client, report, file, piece);
      else if (user === undefined) await verifyEverybody(client, report, after, piece);
      else report.add(await verifyUser(client, await findUserId(client, user)));
    } catch (error) {
      if (error instanceof UserNotFound) throw new Failure(`${error.message} (${target.name})`);
      throw asDatabaseFailure(error, target.name);
    } finally {
      progress.clear();
    }
    if (user !== undefined) report.end({ users: 1, finished: true, after: null });
  });
  if (file !== undefined && digest === undefined) {
    console.error(`The digest of that checkpoint is ${file.digest}: is it the one that you kept?`);
  }
  process.exitCode = report.breaches > 0 ? 1 : isStopped ? noVerdict : 0;
} catch (error) {
  reportFailure(error);
  process.exitCode = noVerdict;
}

async function verifyEverybody(
  client: SqlClient,
  report: VerifyReport,
  after: string | null,
  transactions: number,
): Promise<void> {
  const count = await countUsers(client, after);
  await goThrough(verifyInPieces(client, after, transactions), report, count, { after, mayGoOn: true });
}

async function verifyCheckpoint(
  client: SqlClient,
  report: VerifyReport,
  file: CheckpointFile,
  transactions: number,
): Promise<void> {
  const pieces = verifyCheckpointInPieces(client, file.lines(), transactions);
  await goThrough(pieces, report, { all: file.users, done: 0 }, { after: null, mayGoOn: false });
}

/**
 * Goes through pieces to the last one, or until somebody stops it: then, where it may, another run goes on
 * after the last user of this one.
 */
async function goThrough(
  pieces: AsyncIterable<Piece>,
  report: VerifyReport,
  { all, done }: { all: number; done: number },
  { after, mayGoOn }: { after: string | null; mayGoOn: boolean },
): Promise<void> {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      if (isStopped) process.exit(noVerdict); // twice: at once
      isStopped = true;
    });
  }
  const begin = performance.now();
  let users = 0;
  let last = after;
  let finished = false;
  try {
    for await (const piece of pieces) {
      report.add(piece.breaches);
      users += piece.users;
      finished = piece.until === null;
      last = piece.until;
      if (finished || isStopped) break;
      const rate = users / ((performance.now() - begin) / 1000);
      const left = duration((all - done - users) / rate);
      const line = `${readable(done + users)} of ${readable(all)} users, ${readable(rate)}/s, ${left} left`;
      const place = `${line}, after ${last}`; // whole or not at all: half an id is none
      progress.show(mayGoOn && place.length < (process.stderr.columns ?? Infinity) ? place : line);
    }
  } finally {
    progress.clear();
    report.end({ users, finished, after: last });
    if (!finished) {
      console.error(
        `\nNot finished: ${readable(done + users)} of ${readable(all)} users.` +
          (mayGoOn && last !== null ? ` To go on, give the same command --after ${last}` : ""),
      );
    }
  }
}

function readArguments() {
  try {
    const { values } = parseArgs({
      options: {
        user: { type: "string" },
        after: { type: "string" },
        json: { type: "boolean", default: false },
        piece: { type: "string", default: "50000" },
        remote: { type: "string" },
        checkpoint: { type: "string" },
        digest: { type: "string" },
      },
    });
    const { user, after = null, piece, checkpoint, digest } = values;
    if (user !== undefined && after !== null) throw new Error("One user is not gone through after another.");
    if (checkpoint !== undefined && (user !== undefined || after !== null)) {
      throw new Error("A checkpoint says itself of whom it is.");
    }
    if (digest !== undefined && checkpoint === undefined)
      throw new Error("--digest is that of a --checkpoint.");
    if (after !== null && !isUserId(after)) throw new Error("--after is the id of a user.");
    if (!/^[1-9]\d{0,8}$/.test(piece)) throw new Error("--piece is a number of transactions.");
    return { ...values, after, piece: Number(piece) };
  } catch (error) {
    throw new Failure(`${(error as Error).message}\n\n${usage}`);
  }
}
