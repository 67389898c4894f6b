import type pg from "pg";
import { Failure } from "local-platform/terminal/failure";
import { databaseCommand, onDatabase, Refusal } from "../command.ts";
import { readShadow, retryFailed, type Shadow } from "../data/shadow.ts";
import { shadowText } from "../reports/shadow.ts";
import { bookChanges } from "../shadow/book.ts";
import {
  beginAtBooks,
  counterOf,
  followFromHere,
  putTriggers,
  withTable,
  type Terms,
  endBeginning,
} from "../shadow/follow.ts";
import { keepInStep } from "../shadow/keep-in-step.ts";
import type { Counter } from "../shadow/counter.ts";
import { agrees } from "../terminal/ask.ts";
import { stopsOnSignal } from "../terminal/stop.ts";
import { createVoice, type Voice } from "../terminal/voice.ts";
import { compared, lookAt, note, refuseSeveral, refuseStrangers, say, timesOf, type From } from "./shadow.ts";

/** `tokenbook switch`: from a counter of the project's own to the books. */
export const switchCommand = databaseCommand(
  "switch",
  "Makes the books right, and the counter that they followed a copy that stays readable.",
  `After \`tokenbook shadow\`. From now on the balance is what the books say, and \`tokenbook shadow\` (with --watch) writes it
into the counter, for whatever still reads it there. An update of the counter by the app is refused with an error that says
what to call instead; with --writable it is booked, as before: the way for as long as older code runs.

It can be given again, with and without --writable. When nothing reads the counter any more: npx tokenbook shadow --stop,
and drop the column.`,
)
  .option(
    "--from <source>",
    "where no shadow runs, of an app that calls Tokenbook for all that it writes there: <table>.<column>, or user_profiles",
  )
  .option("--user-column <column>", "of <table>.<column>: whose a row is")
  .option("--writable", "what the app still writes to the counter is booked")
  .option("--undo", "back to the shadow: the counter is right again")
  .option("--accept-differences", "also where counter and books differ: the books are taken")
  .option("--yes", "does not ask")
  .option("--json", "for machines")
  .action(async ({ from, userColumn, writable, undo, acceptDifferences, yes, json, ...where }) => {
    if (undo && (writable || acceptDifferences)) {
      throw new Failure(
        "--undo goes back whatever differs: neither with --writable nor with --accept-differences.",
      );
    }
    const voice = createVoice(json);
    await onDatabase(where, async (client, target) => {
      const found = await readShadow(client);
      const wanted = undo ? "shadow" : writable ? "writable" : "read_only";
      if (found === undefined && from === undefined) {
        throw new Refusal(
          "No shadow runs here: npx tokenbook shadow --from <table>.<column> --start\nOf an app that calls Tokenbook for all that it writes to the column: npx tokenbook switch --from <table>.<column>",
        );
      }
      if (found !== undefined && (from !== undefined || userColumn !== undefined)) {
        throw new Refusal(`${found.source} is followed already: without --from. Nothing was changed.`);
      }
      if (found === undefined && wanted !== "read_only") {
        throw new Refusal(
          "--from is of an app that calls Tokenbook itself for what it writes to the column: booked once more it would be twice. Nothing was changed.",
        );
      }
      const stop = stopsOnSignal();
      const { running, counter, terms } =
        found === undefined
          ? await unfollowed(client, { from, userColumn })
          : { running: found, counter: await counterOf(client, found), terms: undefined };
      await endBeginning(client, running, counter, stop);
      if (running.mode === "shadow" && !undo) {
        const mode = found === undefined ? "none" : "shadow";
        await refuseUnready(client, running, counter, mode, stop, voice, acceptDifferences === true);
      }
      if (!yes) await agrees(`${questions[wanted]} (${running.source} in ${target.name})`);
      if (terms !== undefined) {
        await beginAtBooks(client, running, counter, running.times, terms, wanted);
        await note(client, "switch", { source: running.source, from: "none", to: wanted });
      } else if (running.mode !== wanted) {
        await change(client, running, counter, wanted, stop);
        await note(client, "switch", { source: running.source, from: running.mode, to: wanted });
      }
      await retryFailed(client);
      await bookChanges(client, stop, () => {});
      const written =
        wanted === "shadow" ? { users: 0, failed: [] } : await keepInStep(client, counter, stop);
      const report = await compared(client, counter, running.source, running.times, wanted);
      say({ ...report, written: written.users, not_written: written.failed }, voice);
    });
  });

/** A counter that no shadow follows, as if one did that has nothing to book. */
async function unfollowed(
  client: pg.Client,
  from: From,
): Promise<{ running: Shadow; counter: Counter; terms: Terms }> {
  const { place, counter } = await lookAt(client, from);
  await refuseStrangers(client, counter, place);
  const times = await timesOf(client, place.source, from);
  const terms: Terms = { grantType: "purchase" };
  const running: Shadow = {
    ...place,
    ...terms,
    lifetimeDays: null,
    times,
    mode: "shadow",
    startedAt: "",
    switchedAt: null,
    keptAt: null,
    isThere: true,
    isSeen: true,
    fault: null,
    way: null,
    now: { schema: place.schema, table: place.table },
    isBegun: true,
  };
  return { running, counter, terms };
}

const questions = {
  shadow: "Make the counter right again, and let the books follow it?",
  writable: "Make the books right, keep the counter in step, and book what is still written there?",
  read_only: "Make the books right, keep the counter in step, and refuse what is written there?",
};

/** @throws Refusal when what users see would change, or could not be kept in step. */
async function refuseUnready(
  client: pg.Client,
  running: Shadow,
  counter: Counter,
  mode: "none" | "shadow",
  stop: AbortSignal,
  voice: Voice,
  takesBooks: boolean,
): Promise<void> {
  if (!counter.isWritable) throw new Refusal(`${running.source} is generated: nothing can be written there.`);
  await refuseSeveral(client, counter);
  await retryFailed(client);
  await bookChanges(client, stop, () => {});
  const report = await compared(client, counter, running.source, running.times, mode);
  if ((report.differing > 0 || report.not_booked.failed > 0) && !takesBooks) {
    voice.report(report, shadowText);
    throw new Refusal(
      "Nothing was switched. Their users would see another balance: mend it, or take what the books say with --accept-differences.",
    );
  }
}

async function change(
  client: pg.Client,
  running: Shadow,
  counter: Counter,
  wanted: Shadow["mode"],
  stop: AbortSignal,
): Promise<void> {
  // what the books have of it is written down anew
  const beginsAnew = wanted === "shadow" || running.mode === "read_only";
  const set = () =>
    client.query(
      `update tokenbook.shadow
          set mode = $1, is_begun = not $2::boolean,
              switched_at = case when $1 <> 'shadow' then coalesce(switched_at, clock_timestamp()) end
        where is_only`,
      [wanted, beginsAnew],
    );
  if (running.mode !== "shadow") {
    // what is to be right, or to be written from here on, is first what the books say
    await bookChanges(client, stop, () => {});
    await keepInStep(client, counter, stop);
  }
  const refuses = wanted === "read_only";
  if (refuses !== (running.mode === "read_only")) {
    await withTable(client, counter.table, async () => {
      await putTriggers(client, counter, running, refuses ? "refuse" : "note");
      await set();
    });
  } else await set();
  if (beginsAnew) await followFromHere(client, counter, stop);
}
