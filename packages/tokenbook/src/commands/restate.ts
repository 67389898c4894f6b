import Table from "cli-table3";
import { databaseCommand, exit, onDatabase, wholeNumber } from "../command.ts";
import type { SqlClient } from "../data/client.ts";
import { countAccounts, userAfter } from "../data/discrepancies.ts";
import { replayGrants, replayUsers, restate as restateUser } from "../data/replays.ts";
import type { Replayed, Restated } from "../data/replays.ts";
import { findUserId } from "../data/users.ts";
import { Failure } from "local-platform/terminal/failure";
import { asks, requireSomebody } from "../terminal/ask.ts";
import { count, createProgress, readable } from "../terminal/progress.ts";

/** How many users are replayed in one query: each piece is one snapshot, a second or so. */
const pieceSize = 5000;
const progress = createProgress(process.stderr, { inLogs: true });

interface Options {
  user?: string | undefined;
  worst: number;
  book?: true | undefined;
  reason: string;
  yes?: true | undefined;
  json?: true | undefined;
}

/** `tokenbook restate`: what an exact replay says, and booking it. */
export const restate = databaseCommand(
  "restate",
  "Replays past grants and past use exactly, and shows where the balances differ from it.",
  `Everyone, or one user, grant by grant; it changes nothing. With --book it asks, then books each difference as a
restatement, each of which can be undone: select reverse_token_restatement(user, transaction, reason).
Ends with 0 when there is no difference, 1 when some remain, 2 when it could not be told.`,
)
  .option("--user <id or email>", "one user, grant by grant")
  .option("--worst <number>", "how many users are listed", wholeNumber(0, "users"), 10)
  .option("--book", "asks, then books each difference")
  .option("--reason <why>", "with --book: for the ledger", "")
  .option("--yes", "with --book: does not ask")
  .option("--json", "for machines")
  .action(async (options) => {
    const { book, reason, yes } = options;
    if (book && reason.trim() === "") throw new Failure('Say why, for the ledger: --book --reason "…"');
    if (!book && (yes || reason !== "")) throw new Failure("--yes and --reason go with --book.");
    if (book && !yes) requireSomebody();
    await onDatabase(options, async (client, target) => {
      try {
        await run(client, options, target.name);
      } finally {
        progress.clear();
      }
    });
  });

interface Found {
  /** How many users were looked at. */
  users: number;
  replayed: Replayed[];
}

async function run(client: SqlClient, options: Options, where: string): Promise<void> {
  const one = options.user === undefined ? undefined : await findUserId(client, options.user);
  const found = one
    ? { users: 1, replayed: await replayUsers(client, { userId: one }) }
    : await replayEveryone(client);
  const differing = found.replayed.filter(differs).toSorted(worstFirst);
  let remaining = differing.length;

  if (!options.json) {
    console.log(summary(found, where));
    if (one) console.log(`\n${await grantTable(client, one)}`);
    else if (differing.length > 0) console.log(`\n${userTable(differing, options.worst)}`);
  }

  let booked: Restated[] | undefined;
  if (options.book && differing.length > 0 && (options.yes || (await isAgreed(differing)))) {
    const refused: string[] = [];
    booked = await bookAll(client, differing, options.reason, refused);
    remaining = refused.length;
    for (const { userId } of booked) {
      if ((await replayUsers(client, { userId })).some(differs)) remaining++;
    }
    if (!options.json) console.log(`\n${bookedSummary(booked, refused, remaining)}`);
  } else if (!options.json && differing.length > 0) {
    console.log(
      options.book
        ? "\nNothing was changed."
        : '\nNothing was changed. To book it: tokenbook restate --book --reason "why"',
    );
  }
  if (options.json) console.log(JSON.stringify(asJson(found, differing, booked, remaining), null, 2));
  process.exitCode = remaining > 0 ? exit.wrong : exit.right;
}

async function replayEveryone(client: SqlClient): Promise<Found> {
  const users = await countAccounts(client);
  const replayed: Replayed[] = [];
  let after: string | null = null;
  for (let done = pieceSize; ; done += pieceSize) {
    const until = await userAfter(client, after, pieceSize);
    replayed.push(...(await replayUsers(client, { after, until })));
    if (until === null) break;
    progress.show(`history replay: ${readable(done)} of ${readable(users)} users`);
    after = until;
  }
  progress.clear();
  return { users, replayed };
}

async function isAgreed(differing: Replayed[]): Promise<boolean> {
  return await asks(
    `Restate the balances of ${count(differing.length, "user")}: take ${tokens(sum(differing, "overGranted"))}, ` +
      `give ${tokens(sum(differing, "underGranted"))}?`,
  );
}

/** One user after the other, each in a transaction of their own: what is booked stays booked. */
async function bookAll(
  client: SqlClient,
  differing: Replayed[],
  reason: string,
  refused: string[],
): Promise<Restated[]> {
  const booked: Restated[] = [];
  for (const [n, { userId }] of differing.entries()) {
    try {
      booked.push(await restateUser(client, userId, reason));
    } catch (error) {
      // an account that is busy now is left for the next run
      if ((error as { message?: string }).message !== "busy") throw error;
      refused.push(userId);
    }
    progress.show(`restated ${readable(n + 1)} of ${readable(differing.length)} users`);
  }
  progress.clear();
  return booked;
}

function summary({ users, replayed }: Found, where: string): string {
  const differing = replayed.filter(differs);
  const uncovered = replayed.filter((user) => user.uncovered > 0);
  const lines = [
    `History replay of ${count(users, "user")} of ${where}: ${differing.length || "none"} with a difference.`,
  ];
  if (differing.length > 0) {
    const kinds = { overGranted: "over-granted: ", underGranted: "under-granted:" } as const;
    for (const kind of ["overGranted", "underGranted"] as const) {
      const those = replayed.filter((user) => user[kind] > 0);
      if (those.length > 0)
        lines.push(`  ${kinds[kind]}  ${tokens(sum(those, kind))} of ${count(those.length, "user")}`);
    }
  }
  if (uncovered.length > 0) {
    lines.push(
      `  uncovered:      ${tokens(sum(uncovered, "uncovered"))} of ${count(uncovered.length, "user")}: used when no grant could pay; nothing to restate`,
    );
  }
  return lines.join("\n");
}

function userTable(differing: Replayed[], worst: number): string {
  const table = plainTable(["user", "exact", "stored", "over", "under", "uncovered"], [1, 2, 3, 4, 5]);
  for (const user of differing.slice(0, worst)) {
    table.push([
      user.email ?? user.userId,
      readable(user.exact),
      readable(user.stored),
      readable(user.overGranted),
      readable(user.underGranted),
      readable(user.uncovered),
    ]);
  }
  const more = differing.length - worst;
  return table.toString() + (more > 0 ? `\nand ${readable(more)} more (--worst <number>)` : "");
}

async function grantTable(client: SqlClient, userId: string): Promise<string> {
  const grants = await replayGrants(client, userId);
  if (grants.length === 0) return "No grant of this user has, or would have, tokens left.";
  const table = plainTable(
    ["granted", "expires", "type", "tokens", "exact", "stored", "difference"],
    [3, 4, 5, 6],
  );
  const day = (at: Date | null) => at?.toISOString().slice(0, 10) ?? "never";
  for (const grant of grants) {
    table.push([
      day(grant.grantedAt),
      day(grant.expiresAt),
      grant.grantType,
      readable(grant.granted),
      readable(grant.exact),
      readable(grant.stored),
      readable(grant.difference),
    ]);
  }
  return table.toString();
}

function bookedSummary(booked: Restated[], refused: string[], remaining: number): string {
  const entries = booked.flatMap((one) => one.transactionIds).length;
  const lines = [
    `${count(entries, "restatement")} booked for ${count(booked.length, "user")}: ` +
      `${tokens(sum(booked, "taken"))} taken, ${tokens(sum(booked, "given"))} given.`,
  ];
  if (refused.length > 0) lines.push(`Left out, their accounts were busy: ${refused.join(", ")}`);
  lines.push(
    remaining === 0
      ? "No difference remains."
      : `${count(remaining, "user")} with a difference ${remaining === 1 ? "remains" : "remain"}.`,
  );
  const last = booked.findLast((one) => one.transactionIds.length > 0);
  if (last) {
    lines.push(
      `To undo one: select reverse_token_restatement('${last.userId}', ${last.transactionIds[0]}, 'why');`,
    );
  }
  return lines.join("\n");
}

function asJson(found: Found, differing: Replayed[], booked: Restated[] | undefined, remaining: number) {
  return {
    users: found.users,
    differing: differing.length,
    over_granted: sum(found.replayed, "overGranted"),
    under_granted: sum(found.replayed, "underGranted"),
    uncovered: sum(found.replayed, "uncovered"),
    remaining,
    found: [...differing, ...found.replayed.filter((user) => !differs(user))].map((user) => ({
      user_id: user.userId,
      email: user.email,
      exact: user.exact,
      stored: user.stored,
      over_granted: user.overGranted,
      under_granted: user.underGranted,
      uncovered: user.uncovered,
    })),
    ...(booked && {
      booked: booked.map((one) => ({
        user_id: one.userId,
        tokens_taken: one.taken,
        tokens_given: one.given,
        transaction_ids: one.transactionIds,
      })),
    }),
  };
}

function differs(user: Replayed): boolean {
  return user.overGranted > 0 || user.underGranted > 0;
}

function worstFirst(a: Replayed, b: Replayed): number {
  const size = (user: Replayed) => user.overGranted + user.underGranted;
  return size(b) - size(a) || (a.userId < b.userId ? -1 : 1);
}

function sum<Key extends string>(rows: readonly Record<Key, number>[], key: Key): number {
  return rows.reduce((total, row) => total + row[key], 0);
}

function plainTable(head: string[], right: number[]): Table.Table {
  return new Table({
    head,
    colAligns: head.map((_, column) => (right.includes(column) ? "right" : "left")),
    style: { head: [], border: [] },
    // no line between two rows
    chars: { mid: "", "left-mid": "", "mid-mid": "", "right-mid": "" },
  });
}

function tokens(value: number): string {
  return `${readable(value)} token${value === 1 ? "" : "s"}`;
}
