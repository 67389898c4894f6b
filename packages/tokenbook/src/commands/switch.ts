import type pg from "pg";
import { databaseCommand, onDatabase, Refusal } from "../command.ts";
import { readShadow, retryFailed, type Shadow } from "../data/shadow.ts";
import { shadowText } from "../reports/shadow.ts";
import { bookChanges } from "../shadow/book.ts";
import { counterOf, followFromHere, putTriggers, withTable } from "../shadow/follow.ts";
import { keepInStep } from "../shadow/keep-in-step.ts";
import type { Counter } from "../shadow/counter.ts";
import { agrees } from "../terminal/ask.ts";
import { stopsOnSignal } from "../terminal/stop.ts";
import { createVoice, type Voice } from "../terminal/voice.ts";
import { compared, note, refuseSeveral, say } from "./shadow.ts";

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
  .option("--writable", "what the app still writes to the counter is booked")
  .option("--undo", "back to the shadow: the counter is right again")
  .option("--accept-differences", "also where counter and books differ: the books are taken")
  .option("--yes", "does not ask")
  .option("--json", "for machines")
  .action(async ({ writable, undo, acceptDifferences, yes, json, ...where }) => {
    const voice = createVoice(json);
    await onDatabase(where, async (client, target) => {
      const running = await readShadow(client);
      if (running === undefined) {
        throw new Refusal("No shadow runs here: npx tokenbook shadow --from <table>.<column> --start");
      }
      const wanted = undo ? "shadow" : writable ? "writable" : "read_only";
      const counter = await counterOf(client, running);
      const stop = stopsOnSignal();
      if (running.mode === "shadow" && !undo) {
        await refuseUnready(client, running, counter, stop, voice, acceptDifferences === true);
      }
      if (!yes) await agrees(`${questions[wanted]} (${running.source} in ${target.name})`);
      if (running.mode !== wanted) {
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
  stop: AbortSignal,
  voice: Voice,
  takesBooks: boolean,
): Promise<void> {
  if (!counter.isWritable) throw new Refusal(`${running.source} is generated: nothing can be written there.`);
  await refuseSeveral(client, counter);
  await retryFailed(client);
  await bookChanges(client, stop, () => {});
  const report = await compared(client, counter, running.source, running.times, "shadow");
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
  const set = () =>
    client.query(
      `update tokenbook.shadow set mode = $1, switched_at = case when $1 <> 'shadow' then coalesce(switched_at, clock_timestamp()) end where is_only`,
      [wanted],
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
  if (wanted === "shadow" || running.mode === "read_only") await followFromHere(client, counter);
}
