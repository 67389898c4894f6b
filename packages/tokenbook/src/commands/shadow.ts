import { setTimeout as wait } from "node:timers/promises";
import { userInfo } from "node:os";
import type pg from "pg";
import { Failure } from "local-platform/terminal/failure";
import { databaseCommand, exit, lifetimeDays, onDatabase, Refusal } from "../command.ts";
import { select } from "../data/client.ts";
import { grantTypesWith } from "../data/grant-types.ts";
import { areBooksRight, readBehind, readShadow, retryFailed, type Shadow } from "../data/shadow.ts";
import { readDecimal, readRate } from "../import/amounts.ts";
import { shadowText, type ShadowReport } from "../reports/shadow.ts";
import { bookChanges, type Booked } from "../shadow/book.ts";
import { findCounter, findPlace, type Counter, type Place } from "../shadow/counter.ts";
import { findDifferences } from "../shadow/differences.ts";
import {
  counterOf,
  endShadow,
  importedTimes,
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
  .option("--grant-type <type>", "with --start: of the grants that increases become", "purchase")
  .option("--lifetime-days <days>", "with --start: of these; left out, as long as their type", lifetimeDays)
  .option("--compare", "books and writes nothing")
  .option("--watch", "goes on until it is stopped")
  .option("--stop", "books what waits, and takes triggers and notes away again")
  .option("--force", "with --stop: whatever could not be booked is given up")
  .option("--json", "for machines")
  .action(async (options) => {
    const deeds = (["start", "compare", "watch", "stop"] as const).filter((name) => options[name]);
    if (deeds.length > 1 && deeds.join() !== "start,watch") {
      throw new Failure(`--${deeds.join(" and --")} do not go together.`);
    }
    const voice = createVoice(options.json);
    await onDatabase(options, async (client) => {
      const running = await readShadow(client);
      if (options.stop) {
        await stop(client, running, voice, options.force === true);
        return;
      }
      if (running === undefined && options.from === undefined) {
        throw new Refusal("No shadow runs here: --from <table>.<column> says which counter.");
      }
      if (running === undefined && !options.start) {
        const { place, counter } = await lookAt(client, options);
        const times = options.times ?? (await importedTimes(client, place.source)) ?? "1";
        readRate(times);
        say(await compared(client, counter, place.source, times, "none"), voice);
        return;
      }
      if (running !== undefined && options.from !== undefined) {
        const { place } = await lookAt(client, options);
        if (place.source !== running.source) {
          throw new Refusal(`${running.source} is followed already, and one counter at a time can be.`);
        }
      }
      if (options.start) {
        const words = await start(client, running, options);
        if (!options.json) voice.say(words); // the report that follows has it for machines
      }
      await goOn(client, {
        watches: options.watch === true,
        books: options.compare !== true,
        voice,
      });
    });
  });

interface From {
  from?: string | undefined;
  userColumn?: string | undefined;
  times?: string | undefined;
}

async function lookAt(
  client: pg.Client,
  { from, userColumn }: From,
): Promise<{ place: Place & { source: string }; counter: Counter }> {
  const place = await findPlace(client, from!, userColumn);
  return { place, counter: (await findCounter(client, place))! };
}

/** @returns what there is to say of it. */
async function start(client: pg.Client, running: Shadow | undefined, options: From & Terms): Promise<string> {
  if (running !== undefined && running.mode !== "shadow") {
    throw new Refusal(
      `The books are right, and ${running.source} follows them: npx tokenbook switch --undo.`,
    );
  }
  const place =
    running === undefined ? (await lookAt(client, options)).place : { ...running, source: running.source };
  const counter =
    running === undefined ? (await findCounter(client, place))! : await counterOf(client, running);
  await grantTypesWith(client, options.grantType);
  const imported = await importedTimes(client, place.source);
  if (running === undefined && imported === undefined) {
    throw new Refusal(
      `Nobody's balance was imported from ${place.source} yet: npx tokenbook import --from ${options.from}\nNothing was changed.`,
    );
  }
  if (options.times !== undefined && imported !== undefined && !equal(options.times, imported)) {
    throw new Refusal(`${place.source} was imported --times ${imported}. Nothing was changed.`);
  }
  if (place.source === "user_profiles") await refuseSeveral(client, counter);
  const times = running?.times ?? imported!;
  readRate(times);
  await startShadow(client, place, counter, times, options);
  await note(client, "shadow", { source: place.source });
  return `${place.source} is followed: triggers on ${counter.table} note what is written there. Nothing that the app's users see has\nchanged. To book it as it comes: npx tokenbook shadow --watch`;
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

/** Who did it, for list_token_changes. */
export async function note(client: pg.Client, change: string, details: object): Promise<void> {
  await client.query("select tokenbook.record_change($1, null, 'service', null, $2, $3)", [
    change,
    `npx tokenbook (${userInfo().username})`,
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
  if (!force) {
    const signal = stopsOnSignal();
    await retryFailed(client);
    await bookChanges(client, signal, () => {});
    await refuseFailed(client);
    await stopFollowing(client, running);
    await bookChanges(client, signal, () => {});
    await refuseFailed(client);
    if (signal.aborted) throw new Failure("Stopped. The same again goes on.");
  }
  const { changes } = await readBehind(client);
  await endShadow(client, running);
  await note(client, "shadow_stopped", { source: running.source, given_up: changes });
  voice.say(
    `${running.source} is followed no more: the triggers are gone from ${running.schema}.${running.table}, and nothing is noted any more.${changes > 0 ? ` ${count(changes, "change")} are given up.` : ""}`,
  );
  voice.answer({ source: running.source, stopped: true, given_up: changes });
}

async function refuseFailed(client: pg.Client): Promise<void> {
  const { failed } = await readBehind(client);
  if (failed > 0) {
    throw new Refusal(
      `${count(failed, "change")} could not be booked: npx tokenbook shadow lists them, --stop --force gives them up.\nThe shadow is not ended.`,
    );
  }
}

/** Books, keeps in step and compares: once, or until it is stopped. */
async function goOn(
  client: pg.Client,
  { watches, books, voice }: { watches: boolean; books: boolean; voice: Voice },
): Promise<void> {
  const done = books ? await follow(client, watches) : {};
  const running = await readShadow(client);
  if (running === undefined) throw new Refusal("The shadow was ended.");
  const counter = await counterOf(client, running);
  const report = await compared(client, counter, running.source, running.times, running.mode);
  say({ ...report, ...done }, voice);
}

async function follow(
  client: pg.Client,
  watches: boolean,
): Promise<Booked & Pick<ShadowReport, "written" | "not_written">> {
  const signal = stopsOnSignal();
  const progress = createProgress(process.stderr, { inLogs: true });
  const all = { booked: 0, granted: 0, spent: 0, owed: 0, unknown: 0, written: 0 };
  let failed: Written["failed"] = [];
  await retryFailed(client);
  while (!signal.aborted) {
    const begin = performance.now();
    const running = await readShadow(client);
    if (running === undefined) break;
    const done = await bookChanges(client, signal, (booked) =>
      progress.show(`${readable(all.booked + booked)} changes booked`),
    );
    for (const key of ["booked", "granted", "spent", "owed", "unknown"] as const) all[key] += done[key];
    if (running.mode !== "shadow" && !signal.aborted) {
      const written = await keepInStep(client, await counterOf(client, running), signal);
      all.written += written.users;
      failed = written.failed;
    }
    if (!watches) break;
    progress.show(
      `${readable(all.booked)} changes booked${all.written > 0 ? `, ${readable(all.written)} balances written` : ""}`,
    );
    // where the counter is kept in step a pass reads every account: a tenth of the time at most
    const pause = Math.max(1_000, (performance.now() - begin) * 10);
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
    booked: 0,
    granted: 0,
    spent: 0,
    owed: 0,
    unknown: 0,
    written: 0,
    not_written: [],
    not_booked: await readBehind(client),
    ...found,
  };
}

export function say(report: ShadowReport, voice: Voice): void {
  voice.report(report, shadowText);
  process.exitCode = report.differing === 0 && report.not_booked.failed === 0 ? exit.right : exit.wrong;
}
