import { setTimeout as wait } from "node:timers/promises";
import type pg from "pg";
import { Failure } from "local-platform/terminal/failure";
import { byWhom, databaseCommand, exit, daysOfLife, onDatabase, Refusal } from "../command.ts";
import { isConnectionLost } from "../database/failure.ts";
import { select } from "../data/client.ts";
import { grantTypesWith } from "../data/grant-types.ts";
import { inShell } from "../install/uses.ts";
import { areBooksRight, readBehind, readShadow, retryFailed, type Shadow } from "../data/shadow.ts";
import { readDecimal, readRate } from "../import/amounts.ts";
import { shadowText, type ShadowReport } from "../reports/shadow.ts";
import { bookChanges, nothingBooked, type Booked } from "../shadow/book.ts";
import { findCounter, findPlace, type Counter, type Place } from "../shadow/counter.ts";
import { findDifferences } from "../shadow/differences.ts";
import {
  catchUp,
  counterAsItIs,
  counterOf,
  countMirrored,
  endShadow,
  followFromHere,
  endBeginning,
  importedTimes,
  refuseAltered,
  startShadow,
  stopFollowing,
  type Terms,
} from "../shadow/follow.ts";
import { keepInStep, type Written } from "../shadow/keep-in-step.ts";
import { count, createProgress, readable } from "../terminal/progress.ts";
import { stopsOnSignal } from "../terminal/stop.ts";
import { createVoice, type Voice } from "../terminal/voice.ts";

/** `tokenbook shadow`: the books beside a counter of the project's own. */
export const shadow = databaseCommand(
  "shadow",
  "Runs beside the counter that a project has: the books follow it, and every difference is listed.",
  `With --from alone it compares the counter with the books and changes nothing: for an app that calls Tokenbook beside its
own counter. With --start, after an import, it puts triggers on the counter's table: what is written there is noted in the
same transaction, and costs the app's users nothing else.

Without --from it books what has been noted, each change once, and compares; with --watch it goes on until it is stopped.
After \`tokenbook switch\` it keeps the counter in step with the books as well.

Ends with 0 when nothing differs, 1 when something does or was refused.`,
)
  .option("--from <source>", "<table>.<column>, or user_profiles: as it was imported")
  .option("--user-column <column>", "of <table>.<column>: whose a row is")
  .option("--times <number>", "how many tokens one of the counter's units is; left out, as it was imported")
  .option("--start", "begins to follow it; where that has begun, catches up on what was not seen")
  .option("--grant-type <type>", "with --start: of the grants that increases become (purchase)")
  .option("--lifetime-days <days>", "with --start: of these; left out, as long as their type", daysOfLife)
  .option("--compare", "books and writes nothing")
  .option("--watch", "goes on until it is stopped")
  .option("--stop", "books what waits, and takes triggers and notes away again")
  .option(
    "--force",
    "with --stop: whatever could not be booked is given up; with --start: also where the app seems to book what it writes there",
  )
  .option("--json", "for machines")
  .action(async (options) => {
    const deeds = (["start", "compare", "watch", "stop"] as const).filter((name) => options[name]);
    if (deeds.length > 1 && deeds.join() !== "start,watch") {
      throw new Failure(`--${deeds.join(" and --")} do not go together.`);
    }
    if (!options.start && (options.grantType !== undefined || options.lifetimeDays !== undefined)) {
      throw new Failure("--grant-type and --lifetime-days are of the start: --start.");
    }
    if (options.force && !options.start && !options.stop) {
      throw new Failure("--force goes with --stop or --start.");
    }
    const voice = createVoice(options.json);
    await onDatabase(options, async (client) => {
      const running = await readShadow(client);
      if (running !== undefined) await refuseOthers(client, running, options);
      if (options.stop) {
        await stop(client, running, voice, options.force === true);
        return;
      }
      if (running === undefined && options.from === undefined) {
        throw new Refusal("No shadow runs here: --from <table>.<column> says which counter.");
      }
      if (running === undefined && options.watch && !options.start) {
        throw new Refusal("No shadow runs here, and there is nothing to watch: --start begins it.");
      }
      if (running === undefined && !options.start) {
        const { place, counter } = await lookAt(client, options);
        const imported = await importedTimes(client, place.source);
        const times = options.times ?? imported ?? "1";
        readRate(times);
        const report = await compared(client, counter, place.source, times, "none");
        say({ ...report, imported: imported !== undefined }, voice);
        return;
      }
      if (running !== undefined && !running.isBegun) {
        await endBeginning(client, running, await counterOf(client, running), stopsOnSignal());
      }
      let done = nothingBooked;
      if (options.start) {
        const began = await start(client, running, options);
        if (!options.json) voice.say(began.words); // the report that follows has it for machines
        done = began.done;
      }
      await goOn(client, done, {
        watches: options.watch === true,
        books: options.compare !== true,
        voice,
      });
    });
  });

export interface From {
  from?: string | undefined;
  userColumn?: string | undefined;
  times?: string | undefined;
}

/** What `--from` names.
 *
 * @throws Failure when it is nothing that could be followed. */
export async function lookAt(
  client: pg.Client,
  { from, userColumn }: From,
): Promise<{ place: Place & { source: string }; counter: Counter }> {
  const place = await findPlace(client, from!, userColumn);
  return { place, counter: await findCounter(client, place) };
}

/** @throws Refusal for what would be another shadow than the one that runs. */
async function refuseOthers(
  client: pg.Client,
  running: Shadow,
  { from, userColumn, times, grantType, lifetimeDays }: From & Partial<Terms>,
): Promise<void> {
  if (from !== undefined) {
    const { place } = await lookAt(client, { from, userColumn: userColumn ?? running.userColumn });
    if (place.source !== running.source) {
      throw new Refusal(`${running.source} is followed already, and one counter at a time can be.`);
    }
  }
  const others = [
    ...(userColumn !== undefined && userColumn !== running.userColumn
      ? [`--user-column ${running.userColumn}`]
      : []),
    ...(times !== undefined && !equal(times, running.times) ? [`--times ${running.times}`] : []),
    ...(grantType !== undefined && grantType !== running.grantType
      ? [`--grant-type ${running.grantType}`]
      : []),
    ...(lifetimeDays !== undefined && lifetimeDays !== running.lifetimeDays
      ? [
          running.lifetimeDays === null
            ? "grants that last as long as their type"
            : `--lifetime-days ${running.lifetimeDays}`,
        ]
      : []),
  ];
  if (others.length > 0) {
    throw new Refusal(
      `${running.source} is followed with ${others.join(" and ")}. For another: --stop, and --start with it. Nothing was changed.`,
    );
  }
}

/** @returns what is said of it, and what was booked for it. */
async function start(
  client: pg.Client,
  running: Shadow | undefined,
  options: From & Partial<Terms> & { force?: boolean | undefined },
): Promise<{ words: string; done: Booked }> {
  if (running !== undefined && running.mode !== "shadow") {
    throw new Refusal(
      `The books are right, and ${running.source} follows them: npx tokenbook switch --undo.`,
    );
  }
  if (running !== undefined) {
    const counter = await counterOf(client, running);
    // whom the books do not know of yet has a note, and it is booked as what it is
    const done = await bookChanges(client, stopsOnSignal(), () => {});
    await catchUp(client, running, counter);
    await note(client, "shadow", { source: running.source });
    return { words: started(running.source, counter), done };
  }
  const { place, counter } = await lookAt(client, options);
  const terms = { grantType: options.grantType ?? "purchase", lifetimeDays: options.lifetimeDays };
  await grantTypesWith(client, terms.grantType);
  await refuseStrangers(client, counter, place);
  const times = await timesOf(client, place.source, options);
  if (place.source === "user_profiles") await refuseSeveral(client, counter);
  if (!options.force) await refuseMirrored(client, counter, place.source, times, options.from!);
  await startShadow(client, place, counter, times, terms);
  await note(client, "shadow", { source: place.source });
  return { words: started(place.source, counter), done: nothingBooked };
}

const started = (source: string, { table }: Counter) =>
  `${source} is followed: triggers on ${table} note what is written there. Nothing that the app's users see has\nchanged. To book it as it comes: npx tokenbook shadow --watch`;

/**
 * By how much the import multiplied what is to be followed.
 *
 * @throws Refusal where there was none, or by something else.
 */
export async function timesOf(client: pg.Client, source: string, { from, times }: From): Promise<string> {
  const imported = await importedTimes(client, source);
  if (imported === undefined) {
    throw new Refusal(
      `Nobody's balance was imported from ${source} yet: npx tokenbook import --from ${inShell(from!)}\nNothing was changed.`,
    );
  }
  if (times !== undefined && !equal(times, imported)) {
    throw new Refusal(`${source} was imported --times ${imported}. Nothing was changed.`);
  }
  readRate(imported);
  return imported;
}

/** @throws Refusal where the triggers would book a second time what the app books. */
async function refuseMirrored(
  client: pg.Client,
  counter: Counter,
  source: string,
  times: string,
  from: string,
): Promise<void> {
  const { count: users, first } = await countMirrored(client, counter, source, times);
  if (users === 0) return;
  throw new Refusal(
    [
      `Of ${count(users, "user")} (${first}${users > 1 ? ", …" : ""}) the balance has changed since the import, and the counter by as much: the app seems to`,
      "call Tokenbook for what it writes there. A shadow would book all of that a second time. Nothing was changed.",
      `Such an app needs none: npx tokenbook shadow --from ${inShell(from)} compares, and once its code\ncalls Tokenbook alone, npx tokenbook switch --from ${inShell(from)} closes the column.`,
      "Where it does not call Tokenbook: --start --force, which books nothing of theirs.",
    ].join("\n"),
  );
}

/**
 * @throws Refusal where rows are of no user of auth.users: by an address, or by the ids of another service.
 */
export async function refuseStrangers(client: pg.Client, counter: Counter, place: Place): Promise<void> {
  const [row] = await select<{ is: boolean }>(
    client,
    `select exists (select from ${counter.table} t where ${counter.user} is not null)
        and not exists (select from ${counter.table} t join auth.users u on ${counter.isUser}) as is`,
  );
  if (row!.is) {
    throw new Refusal(
      `No row of ${place.schema}.${place.table} is of a user: ${place.userColumn} has no id of auth.users (an import finds users by their address or by\na file too, a shadow does not). A column with their ids is what it needs: --user-column <column>. Nothing was changed.`,
    );
  }
}

const equal = (one: string, other: string) => {
  const [a, b] = [readDecimal(one), readDecimal(other)];
  return (
    a !== undefined &&
    b !== undefined &&
    a.value * 10n ** BigInt(b.scale) === b.value * 10n ** BigInt(a.scale)
  );
};

/**
 * A counter that is to be written, or of which one row counts, has one row a user.
 *
 * @throws Refusal where somebody has several.
 */
export async function refuseSeveral(client: pg.Client, counter: Counter): Promise<void> {
  const several = await select<{ whose: string }>(
    client,
    `select ${counter.whose} as whose from ${counter.table} t where ${counter.user} is not null group by 1 having count(*) > 1 order by 1 limit 4`,
  );
  if (several.length > 0) {
    throw new Refusal(
      `Of some users there are several rows in ${counter.table}, and which is right nobody can say: ${several.map(({ whose }) => whose).join(", ")}.\nNothing was changed.`,
    );
  }
}

/** Records a change, made by the server, for list_token_changes. */
export async function note(client: pg.Client, change: string, details: object): Promise<void> {
  await client.query("select tokenbook.record_change($1, null, 'service', null, $2, $3)", [
    change,
    byWhom(change === "switch" ? "switch" : "shadow"),
    JSON.stringify(details),
  ]);
}

async function stop(
  client: pg.Client,
  running: Shadow | undefined,
  voice: Voice,
  force: boolean,
): Promise<void> {
  if (running === undefined) throw new Refusal("No shadow runs here.");
  const signal = stopsOnSignal();
  const { source, mode, times } = running;
  const counter = await counterAsItIs(client, running);
  if (!force) {
    await retryFailed(client);
    await bookChanges(client, signal, () => {});
    await refuseFailed(client);
  }
  if (counter !== undefined && areBooksRight(mode)) {
    // what it says when it is left: what is written there later can be told apart by that
    await keepInStep(client, counter, signal);
    await followFromHere(client, counter, signal);
  }
  if (!force) {
    await stopFollowing(client, running);
    await bookChanges(client, signal, () => {});
    await refuseFailed(client);
  }
  if (signal.aborted) throw new Failure("Stopped. The same again goes on.");
  const { changes } = await readBehind(client);
  const found = counter && (await compared(client, counter, source, times, mode));
  await endShadow(client, running);
  await note(client, "shadow_stopped", { source, given_up: changes });
  voice.say(
    [
      `${source} is followed no more: the triggers are gone, and nothing is noted any more.${changes > 0 ? ` ${count(changes, "change")} are given up.` : ""}`,
      ...asItWasLeft(running, found),
      ...(counter !== undefined && areBooksRight(mode)
        ? [
            "The books are right, and nothing writes them to the column any more. It can be written again: code that still spends from it\nspends what nobody books. Drop the column now.",
          ]
        : []),
    ].join("\n"),
  );
  voice.answer({
    source,
    stopped: true,
    given_up: changes,
    fault: running.fault,
    differing: found?.differing ?? null,
  });
  process.exitCode = !force && found !== undefined && found.differing > 0 ? exit.wrong : exit.right;
}

/** What a comparison found when a shadow was ended, what it could not see, and the way back. */
function asItWasLeft(
  { source, userColumn, mode, fault, isSeen }: Shadow,
  found: ShadowReport | undefined,
): string[] {
  const again = `npx tokenbook shadow --from ${inShell(source)}${source === "user_profiles" ? "" : ` --user-column ${inShell(userColumn)}`}`;
  const wayBack = `${again} --start books what is missing`;
  return [
    ...(found === undefined
      ? ["It could not be compared with the books."]
      : found.differing === 0
        ? ["Counter and books say the same."]
        : [
            `${count(found.differing, "user")} ${found.differing === 1 ? "differs" : "differ"}: ${again} lists them${mode === "shadow" && fault === null ? `, and ${wayBack}` : ""}.`,
          ]),
    ...(fault === null
      ? []
      : [
          `${fault}${isSeen ? "" : ": what was written there since then may have gone unseen, and is not booked then"}.`,
          ...(mode === "shadow"
            ? [`If it is to be followed again, make it what it was, its names too: ${wayBack}.`]
            : []),
        ]),
  ];
}

/** How many of those that could not be booked are named. */
const mostNamed = 5;

async function refuseFailed(client: pg.Client): Promise<void> {
  const { failed } = await readBehind(client);
  if (failed === 0) return;
  const some = await select<{ whose: string; before: string; after: string; error: string }>(
    client,
    `select coalesce(c.whose, 'everybody') as whose, trim_scale(c.amount_before)::text as before, trim_scale(c.amount_after)::text as after, c.error
       from tokenbook.shadow_changes c where c.error is not null order by c.id limit ${mostNamed}`,
  );
  throw new Refusal(
    [
      `${count(failed, "change")} could not be booked:`,
      ...some.map(({ whose, before, after, error }) => `  ${whose}: ${before} to ${after}: ${error}`),
      ...(failed > mostNamed ? [`  and ${readable(failed - mostNamed)} more`] : []),
      "Once the counter is right, npx tokenbook shadow --start takes what it has now; --stop --force gives the changes up.",
      "The shadow is not ended.",
    ].join("\n"),
  );
}

/** Books, keeps in step and compares: once, or until it is stopped. */
async function goOn(
  client: pg.Client,
  before: Booked,
  { watches, books, voice }: { watches: boolean; books: boolean; voice: Voice },
): Promise<void> {
  const done = books ? await follow(client, before, watches).catch(nothingIsLost) : {};
  const running = await readShadow(client);
  if (running === undefined) throw new Refusal("The shadow was ended.");
  const counter = await counterOf(client, running);
  const report = await compared(client, counter, running.source, running.times, running.mode);
  say({ ...report, ...done }, voice);
}

/** @throws what it was; of a connection that is lost, that nothing else is. */
function nothingIsLost(error: unknown): never {
  if (!isConnectionLost(error)) throw error;
  throw new Failure(
    "The connection was lost. Nothing else is: what is not booked waits in the database, and the same command again goes on.",
  );
}

/** How often what could not be booked is tried again while a run watches. */
const retryEveryMs = 60_000;

async function follow(
  client: pg.Client,
  before: Booked,
  watches: boolean,
): Promise<Booked & Pick<ShadowReport, "written" | "not_written">> {
  const signal = stopsOnSignal();
  const progress = createProgress(process.stderr, { inLogs: true });
  const all = { ...before, written: 0 };
  let failed: Written["failed"] = [];
  let triedAt = -Infinity;
  while (!signal.aborted) {
    if (performance.now() - triedAt > retryEveryMs) {
      await retryFailed(client);
      triedAt = performance.now();
    }
    const running = await readShadow(client);
    if (running === undefined) break;
    const done = await bookChanges(client, signal, (booked) =>
      progress.show(`${readable(all.booked + booked)} changes booked`),
    );
    for (const key of ["booked", "granted", "spent", "owed", "unknown"] as const) all[key] += done[key];
    // before it is waited for what the triggers do not see any more
    if (running.fault !== null) progress.clear();
    refuseAltered(running);
    const begin = performance.now();
    if (running.mode !== "shadow" && !signal.aborted) {
      const written = await keepInStep(client, await counterOf(client, running), signal);
      all.written += written.users;
      failed = written.failed;
    }
    // keeping in step reads every account: a tenth of the time at most; what waits to be booked is not kept waiting for it
    const pause = Math.max(1_000, (performance.now() - begin) * 10);
    if (!watches) break;
    const behind = await readBehind(client);
    progress.show(
      `${readable(all.booked)} changes booked${all.written > 0 ? `, ${readable(all.written)} balances written` : ""}${behind.failed > 0 ? `, ${readable(behind.failed)} could not be: npx tokenbook shadow lists them` : ""}`,
    );
    await wait(pause, undefined, { signal }).catch(() => {});
  }
  progress.clear();
  return { ...all, not_written: failed };
}

/** The counter and the books at this moment. */
export async function compared(
  client: pg.Client,
  counter: Counter,
  source: string,
  times: string,
  mode: Shadow["mode"] | "none",
): Promise<ShadowReport> {
  const found = await findDifferences(client, counter, source, times, areBooksRight(mode));
  return {
    source,
    mode,
    times,
    ...nothingBooked,
    written: 0,
    not_written: [],
    not_booked: await readBehind(client),
    imported: true,
    ...found,
  };
}

export function say(report: ShadowReport, voice: Voice): void {
  voice.report(report, shadowText);
  process.exitCode = report.differing === 0 && report.not_booked.failed === 0 ? exit.right : exit.wrong;
}
