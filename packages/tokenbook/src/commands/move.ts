import { randomUUID } from "node:crypto";
import type pg from "pg";
import { InvalidArgumentError, Option } from "@commander-js/extra-typings";
import { Failure } from "local-platform/terminal/failure";
import { databaseCommand, onDatabase, Refusal } from "../command.ts";
import { inTransaction, isOnlyRun, select } from "../data/client.ts";
import { findUserId } from "../data/users.ts";
import { asDatabaseFailure } from "../database/failure.ts";
import { chooseTarget, withTarget, type Target } from "../database/target.ts";
import {
  breachesOf,
  endTakingBack,
  moveBooks,
  movedTables,
  moveOf,
  peopleOfTeam,
  statesOf,
  takeBack,
  type Move,
  type Proof,
} from "../move/books.ts";
import { copySettings, differencesOfSettings, onlyHere, onlyThere } from "../move/settings.ts";
import { agrees, requireSomebody } from "../terminal/ask.ts";
import { count, createProgress, duration, readable } from "../terminal/progress.ts";
import { createVoice, type Voice } from "../terminal/voice.ts";

/** `tokenbook move`: a user's books, from this project to another. */
export const move = databaseCommand(
  "move",
  "Moves a user's books, or a team's, to another project.",
  `Both projects are in use meanwhile; this user's calls alone are refused, with account_moving, until their books are in the
other project, and from then on here with account_moved, which says --name. What is copied is compared, table by
table and entry by entry, and printed. Stopped at any point, the same command goes on where it was.

The two projects have the same version and the same catalogue: --settings copies what the other one has not, and moves
nobody; what only the other one has is copied by the same from there.`,
)
  .argument("[user id or email]", "left out with --settings")
  .addOption(
    // as its default it would stand in the help, with its password
    new Option("--to <connection string>", "the database of the other project")
      .env("TOKENBOOK_MOVE_TO")
      .makeOptionMandatory(),
  )
  .option("--name <name>", "what the other project is called: account_moved says it", aName)
  .option("--from-name <name>", "what this one is called there", aName)
  .option("--team", "everybody of their team with them")
  .option("--cancel", "takes a move back, until the books are marked as moved")
  .option(
    "--settings",
    "copies plans, packs, prices, rates, rules and settings that the other project has not",
  )
  .option("--yes", "does not ask")
  .option("--json", "for machines")
  .action(async (idOrEmail, { to, name, fromName, team, cancel, settings, yes, json, ...where }) => {
    const voice = createVoice(json);
    if (to === "")
      throw new Failure("--to, or TOKENBOOK_MOVE_TO, is empty: give the other project's database.");
    if ((idOrEmail === undefined) !== (settings === true)) throw new Failure("Either a user, or --settings.");
    const elsewhere = chooseTarget({ dbUrl: to });
    await onDatabase(where, async (from, target) => {
      await onOther(elsewhere, async (other) => {
        if (!cancel) await requireAnother(from, other, elsewhere);
        await requireSame(from, other);
        if (settings) return await settle(from, other, elsewhere, voice, yes);
        const userId = await findUserId(from, idOrEmail!);
        await lockRun(from, userId);
        const begun = await moveOf(from, userId);
        if (cancel) return await takeItBack(from, other, begun, userId, voice);
        await withTarget(target, (prover) =>
          moveThem(
            { from, to: other, prover },
            elsewhere,
            begun,
            { userId, name, fromName, team, yes },
            voice,
          ),
        );
      });
    });
  });

interface Asked {
  userId: string;
  name: string | undefined;
  fromName: string | undefined;
  team: true | undefined;
  yes: true | undefined;
}

async function moveThem(
  ends: { from: pg.Client; to: pg.Client; prover: pg.Client },
  elsewhere: Target,
  begun: Move | undefined,
  { userId, name, fromName, team, yes }: Asked,
  voice: Voice,
): Promise<void> {
  const { from, to } = ends;
  const userIds = begun?.userIds ?? (await peopleOfTeam(from, userId));
  if (begun === undefined) {
    if (userIds.length > 1 && !team) {
      throw new Refusal(
        `${userId} is in a team, or was: of what members spent the books are the payer's. All of them move together, with --team:\n${userIds.map((id) => `  ${id}`).join("\n")}`,
      );
    }
    if (name === undefined) {
      throw new Failure("Say with --name what the other project is called: account_moved tells it to apps.");
    }
    const differences = await differencesOfSettings(from, to);
    if (differences.length > 0) {
      throw new Refusal(
        `The two projects differ, and what these users have would mean something else there:\n${differences.map((one) => `  ${one}`).join("\n")}\n${remedies(differences).join("\n")}\nNothing was changed.`,
      );
    }
    const breaches = await breachesOf(from, userIds);
    if (breaches.length > 0) {
      throw new Refusal(
        `Their books are not right, and would not be there:\n${breaches.map((one) => `  ${one}`).join("\n")}`,
      );
    }
    if (!yes) {
      await agrees(
        `Move the books of ${userIds.length === 1 ? userId : count(userIds.length, "user")} to ${elsewhere.name}, called ${name}?`,
      );
    }
  } else {
    if (name !== undefined && name !== begun.place) {
      throw new Refusal(
        `A move of ${userId} to ${begun.place} has begun. Go on with it, or take it back with --cancel.`,
      );
    }
    voice.say(
      begun.phase === "moving"
        ? `A move to ${begun.place} had begun: it goes on.`
        : `They have been moved to ${begun.place}: what was left of that is done.`,
    );
  }

  const place = begun?.place ?? name!;
  const progress = createProgress(process.stderr, { inLogs: true });
  const begin = performance.now();
  const said = {
    locked: "1 of 4: their books are closed here.",
    copied: `2 of 4: they are whole in ${place}, compared and verified.`,
    "let go": "3 of 4: here they are marked as moved.",
    opened: `4 of 4: they are in use in ${place}.`,
  };
  let proof: Proof | null = null;
  // what this project's calls say of the users just now; undefined: nothing has changed
  let phase: Move["phase"] | undefined = begun?.phase;
  try {
    for await (const done of moveBooks(ends, {
      userIds,
      place,
      fromPlace: fromName ?? null,
      begun,
      onCopy: (table, bytes) =>
        progress.show(`${table.replace("public.", "")}: ${readable(bytes / 1024)} kB`),
    })) {
      if (done.step === "locked") phase = "moving";
      if (done.step === "let go") phase = "moved";
      proof = done.proof;
      progress.clear();
      voice.say(said[done.step]);
    }
  } catch (error) {
    progress.clear();
    throw new Stopped(error, wayOut(phase, userId, place));
  }
  const [here, there] = [await breachesOf(from, userIds), await breachesOf(to, userIds)];
  voice.report(
    { user_ids: userIds, moved_to: place, proof: proof!, breaches_here: here, breaches_there: there },
    () =>
      `${describe(proof!)}\n\nThe same at both ends (${duration((performance.now() - begin) / 1000)}). verify_token_ledger: ${here.length === 0 ? "nothing" : here.join("; ")} here, ${there.length === 0 ? "nothing" : there.join("; ")} there.`,
  );
  if (here.length + there.length > 0) throw new Refusal("Their books are not right.");
}

/** A move that stopped, and what its users' calls are answered until somebody does what this says. */
class Stopped extends Error {
  readonly wayOut: string | undefined;

  constructor(cause: unknown, way: string | undefined) {
    super("A move stopped.", { cause });
    this.wayOut = way;
  }
}

const wayOut = (phase: Move["phase"] | undefined, userId: string, place: string): string | undefined => {
  if (phase === undefined) return undefined;
  return phase === "moved"
    ? `Here they are marked as moved, and ${place} does not use their books yet: run the same command again.`
    : `Their books stay closed here (account_moving). Run the same command again, or take the move back: npx tokenbook move ${userId} --to … --cancel`;
};

/** What was compared, for people. */
function describe({ users, tables, sums, ledger = [], keys }: Proof): string {
  const lines = Object.entries(tables)
    .filter(([, { rows }]) => rows > 0)
    .map(
      ([table, { rows, digest = "" }]) =>
        `  ${table.replace("public.", "").padEnd(40)} ${readable(rows).padStart(10)}  ${digest.slice(0, 16)}`,
    );
  return [
    `${count(users, "user")}: rows, and the beginning of their digest`,
    ...lines,
    "",
    ...Object.entries(sums).map(([sum, tokens]) => `  ${sum.padEnd(40)} ${readable(tokens).padStart(10)}`),
    `  ${"keys".padEnd(40)} ${readable(keys?.count ?? 0).padStart(10)}  ${keys?.digest?.slice(0, 16) ?? ""}`,
    "",
    "the ledger, as a checkpoint says it:",
    ...ledger.map((line) => `  ${line}`),
  ].join("\n");
}

async function takeItBack(
  from: pg.Client,
  to: pg.Client,
  begun: Move | undefined,
  userId: string,
  voice: Voice,
): Promise<void> {
  if (begun?.phase === "moved") {
    throw new Refusal(
      `Their books are in use in ${begun.place}, or will be once the command has run without --cancel: apps are told so. To have them here again, move them back, from there. Nothing was changed.`,
    );
  }
  if (begun !== undefined) await takeBack({ from, to }, begun);
  const taken = begun ?? (await endTakingBack({ from, to }, userId));
  if (taken === undefined) {
    const { [userId]: state } = await statesOf(from, [userId]);
    throw new Refusal(`No move of ${userId} is under way: their account is ${state ?? "not there"}.`);
  }
  voice.report(
    { user_ids: taken.userIds, taken_back_from: taken.place },
    () =>
      `The move to ${taken.place} is taken back: ${count(taken.userIds.length, "user")} as before, and nothing of it there.`,
  );
}

async function settle(
  from: pg.Client,
  to: pg.Client,
  elsewhere: Target,
  voice: Voice,
  yes: true | undefined,
): Promise<void> {
  const before = await differencesOfSettings(from, to);
  if (before.length > 0 && !yes) {
    requireSomebody();
    voice.say(before.join("\n"));
    await agrees(`Copy to ${elsewhere.name} what is not there?`);
  }
  const copied = before.length > 0 ? await copySettings(from, to) : {};
  const differences = await differencesOfSettings(from, to);
  voice.report({ copied, differences }, () =>
    [
      ...Object.entries(copied).map(([table, rows]) => `${table.padEnd(34)} ${count(rows, "row")} copied`),
      ...(differences.length === 0
        ? ["Both projects have the same catalogue and the same rules."]
        : ["They still differ:", ...differences.map((one) => `  ${one}`), ...remedies(differences)]),
    ].join("\n"),
  );
  if (differences.length > 0) throw new Refusal("The two projects differ.");
}

/** What makes the two projects agree, of each kind of difference. */
function remedies(differences: string[]): string[] {
  const orders = differences.filter((one) => one.startsWith("tokenbook.burn_orders"));
  const others = differences.filter((one) => !orders.includes(one));
  const isCopied = (one: string) => one.endsWith(onlyHere) || one.endsWith(onlyThere);
  return [
    others.some((one) => one.endsWith(onlyHere)) &&
      "Copy what is not there yet: npx tokenbook move --settings --to …",
    others.some((one) => one.endsWith(onlyThere)) &&
      "Copy what is not here from there: npx tokenbook move --settings in that project, with --to this one.",
    orders.length > 0 &&
      "An order of burning is copied by --settings as well, to a project that has no entries yet.",
    others.some((one) => !isCopied(one)) &&
      "Of what both have, say which is right with the functions that set it.",
  ].filter((one) => one !== false);
}

/** One run at a time of one user's move. Correctness does not rest on it: each step asks for its own. */
async function lockRun(from: pg.Client, userId: string): Promise<void> {
  if (!(await isOnlyRun(from, `move ${userId}`)))
    throw new Refusal(`Another run moves ${userId} just now. Nothing was changed.`);
}

/**
 * By a lock: it is of one database, whatever host, port or name led there. What servers say of themselves is the same in
 * a copy of one, which may be another project.
 *
 * @throws Refusal where both connections are to the same database.
 */
async function requireAnother(from: pg.Client, to: pg.Client, { name }: Target): Promise<void> {
  const lock = "select pg_try_advisory_xact_lock(hashtextextended($1, 0)) as got";
  const values = [`tokenbook move ${randomUUID()}`];
  await inTransaction(from, async () => {
    await select(from, lock, values);
    const [there] = await select<{ got: boolean }>(to, lock, values);
    if (!there!.got) {
      throw new Refusal(
        `${name} is the database that the books are in: --to is another. Nothing was changed.`,
      );
    }
  });
}

/** @throws Refusal where the two databases do not hold the same tables. */
async function requireSame(from: pg.Client, to: pg.Client): Promise<void> {
  const [here, there] = [await versionOf(from), await versionOf(to)];
  if (here !== there) {
    throw new Refusal(
      `Tokenbook is ${here} here and ${there} there: npx tokenbook upgrade. Nothing was changed.`,
    );
  }
  const tables = [await movedTables(from), await movedTables(to)].map((one) => JSON.stringify(one));
  if (tables[0] !== tables[1]) {
    throw new Refusal(
      "The tables of the two projects differ: npx tokenbook doctor in both. Nothing was changed.",
    );
  }
}

async function versionOf(client: pg.Client): Promise<string> {
  const [row] = await select<{ version: string }>(client, "select tokenbook.version() as version");
  return row!.version;
}

async function onOther(target: Target, work: (client: pg.Client) => Promise<void>): Promise<void> {
  console.error(`To ${target.name}`);
  await withTarget(target, async (client, role) => {
    try {
      await work(client);
    } catch (error) {
      const [cause, way] = error instanceof Stopped ? [error.cause, error.wayOut] : [error];
      if (isRefused(cause)) throw new Refusal(`${inWords(cause)} ${way ?? "Nothing was changed."}`);
      const failure = asDatabaseFailure(cause, target.name, role);
      throw way !== undefined && failure instanceof Failure
        ? new Failure(`${failure.message}\n${way}`)
        : failure;
    }
  });
}

interface Refused {
  message: string;
  detail?: string;
}

const isRefused = (error: unknown): error is Refused =>
  ["invalid_move", "account_moving", "account_moved", "busy"].includes((error as Refused).message);

const inWords = ({ message, detail }: Refused): string => {
  const { rule, moved_to } = JSON.parse(detail ?? "{}") as { rule?: string; moved_to?: string };
  if (message === "busy")
    return "Other work has the account, or more is due on it than one call books: run it again.";
  if (message === "account_moving") return "Another move of theirs is under way: go on with that one.";
  if (message === "account_moved") return `Their books are in ${moved_to}: move them from there.`;
  return `A move asks for ${rule}.`;
};

function aName(text: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(text)) {
    throw new InvalidArgumentError("1 to 63 characters of A-Z a-z 0-9 . _ -, and never an address.");
  }
  return text;
}
