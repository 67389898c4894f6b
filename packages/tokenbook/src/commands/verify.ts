import { databaseCommand, exit, onDatabase, wholeNumber } from "../command.ts";
import { openCheckpoint } from "../data/checkpoint-file.ts";
import type { CheckpointFile } from "../data/checkpoint-file.ts";
import { verifyCheckpointInPieces } from "../data/checkpoint.ts";
import type { SqlClient } from "../data/client.ts";
import { findUserId, isUserId } from "../data/users.ts";
import { countUsers, verifyInPieces, verifyUser } from "../data/verification.ts";
import type { Piece } from "../data/verification.ts";
import { Failure } from "local-platform/terminal/failure";
import { createVerifyReport } from "../reports/verify.ts";
import type { VerifyReport } from "../reports/verify.ts";
import { createProgress, duration, readable } from "../terminal/progress.ts";

const progress = createProgress(process.stderr, { inLogs: true });
let isStopped = false;

/** `tokenbook verify`: whether the books are right. */
export const verify = databaseCommand(
  "verify",
  "Whether the books are right: which invariant is broken, where, what was expected and what was found.",
  `It reads only, a piece of the users at a time, while the system is being used. With a checkpoint: whether the
ledger is what \`tokenbook checkpoint\` wrote down. Ends with 0 when the books are right, 1 when they are not, 2 when
that could not be found out.`,
)
  .option("--user <id or email>", "one user")
  .option("--after <user id>", "goes on where a run was stopped")
  .option(
    "--piece <transactions>",
    "how much at a time, in one snapshot",
    wholeNumber(1, "transactions"),
    50_000,
  )
  .option("--checkpoint <file>", "compares the ledger with it")
  .option("--digest <digest>", "the digest of that checkpoint, as it was kept elsewhere")
  .option("--json", "for machines")
  .action(async ({ user, after = null, piece, checkpoint, digest, json = false, ...where }) => {
    if (user !== undefined && after !== null)
      throw new Failure("One user is not gone through after another.");
    if (checkpoint !== undefined && (user !== undefined || after !== null)) {
      throw new Failure("A checkpoint says itself of whom it is.");
    }
    if (digest !== undefined && checkpoint === undefined)
      throw new Failure("--digest is that of a --checkpoint.");
    if (after !== null && !isUserId(after)) throw new Failure("--after is the id of a user.");

    const file = checkpoint === undefined ? undefined : await openCheckpoint(checkpoint, digest);
    const report = createVerifyReport(process.stdout, json, file && "The ledger is as it was");
    await onDatabase(where, async (client) => {
      try {
        if (file !== undefined) await verifyCheckpoint(client, report, file, piece);
        else if (user === undefined) await verifyEverybody(client, report, after, piece);
        else report.add(await verifyUser(client, await findUserId(client, user)));
      } finally {
        progress.clear();
      }
      if (user !== undefined) report.end({ users: 1, finished: true, after: null });
    });
    if (file !== undefined && report.breaches > 0) {
      console.error(
        "Words of users who were forgotten since that checkpoint are gone, which counts as a breach too (I6): list_token_changes says of whom and when.",
      );
    }
    if (file !== undefined && digest === undefined) {
      console.error(`The digest of that checkpoint is ${file.digest}: is it the one that you kept?`);
    }
    process.exitCode = report.breaches > 0 ? exit.wrong : isStopped ? exit.unknown : exit.right;
  });

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
      if (isStopped) process.exit(exit.unknown); // twice: at once
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
