/**
 * npm run bench -- --instructions [<call> …] [--check | --update | --json | --profile] [--partitions 8]: how many
 * instructions each call is, counted and not timed. So it is the same on a busy machine as on an idle one, and a change of
 * one part in a hundred is seen. docs/instructions.json has the figures of what is committed; --check --partitions 8
 * compares with them what a ledger in so many partitions takes.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import Table from "cli-table3";
import { choosePlace } from "local-platform/project/place";
import { Failure } from "local-platform/terminal/failure";
import {
  analyze,
  begin,
  compare,
  copy,
  exchange,
  ledger,
  planByUser,
} from "../../packages/tokenbook/src/data/partitions.ts";
import { type Count, countCall, withCounting } from "./count-instructions.ts";
import { type CountedCall, countedCalls } from "./counted-calls.ts";
import { type FirstCalls, measureFirstCalls } from "./first-calls.ts";
import { withClient } from "./on-scratch.ts";
import { profileCall } from "./profile.ts";
import { valgrindVersion } from "./single-backend.ts";
import { project, projectRoot } from "../project.ts";
import { formatted } from "../schema/formatted.ts";

/** What is counted, and by what: other programs have other instructions. */
export interface Instructions {
  /** Of the npm package. */
  postgres: string;
  /** As Node names it. */
  architecture: string;
  valgrind: string;
  /** In thousands, by the name of the call. */
  calls: Record<string, Count>;
}

/** A figure may be off the committed one by so much. */
const tolerance = 0.03;

const page = "docs/instructions.json";

/** The whole command. Prints what it found, and progress through `say`; `clear` takes that away. */
export async function instructions(
  args: string[],
  say: (text: string) => void,
  clear: () => void,
): Promise<void> {
  const {
    positionals: names,
    values: { check, update, json, profile, lines, partitions },
  } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      instructions: { type: "boolean" },
      check: { type: "boolean", default: false },
      update: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      profile: { type: "boolean", default: false },
      lines: { type: "string" },
      partitions: { type: "string", default: "1" },
    },
  });
  if ([check, update, json, profile].filter(Boolean).length > 1)
    throw new Failure("--check, --update, --json and --profile are for one each.");
  const calls = callsNamed(names);
  if (update && (names.length > 0 || partitions !== "1"))
    throw new Failure("--update counts every call, with one partition: name none.");
  if (profile && calls.length !== 1)
    throw new Failure("--profile is of one call: npm run bench -- --instructions --profile deduct");
  const committed = check ? committedInstructions() : undefined;
  const setting = settingHere();
  if (committed !== undefined) requireComparable(setting, committed);

  if (profile) {
    const text = await withCounting((counting) => profileCall(calls[0]!, counting, say, lines), say);
    clear();
    console.log(text);
    return;
  }

  const { found, first } = await countAll(calls, say, {
    withTimes: !check && !update,
    change: partitions === "1" ? undefined : (url) => split(url, Number(partitions)),
  });
  clear();
  const now: Instructions = { ...setting, calls: found };
  if (json) console.log(JSON.stringify({ ...now, first_call_cpu_ms: first }, undefined, 2));
  else if (committed !== undefined) {
    const { text, moved } = compared(now, committed);
    console.log(text);
    if (moved.length > 0) {
      console.log(
        `\n${moved.join(", ")}: more than ${tolerance * 100} % off ${page}. If that is meant, npm run bench -- --instructions --update`,
      );
      process.exitCode = 1;
    }
  } else {
    console.log(tableOf(now, first));
    if (update) {
      writeFileSync(join(projectRoot, page), await formatted(page, JSON.stringify(now)));
      console.log(`\nWritten: ${page}`);
    }
  }
}

/** @throws Failure for a name that no call has */
export function callsNamed(names: readonly string[]): readonly CountedCall[] {
  const unknown = names.filter((name) => !countedCalls.some((call) => call.name === name));
  if (unknown.length > 0)
    throw new Failure(
      `There is no call ${unknown.join(", ")}. There are ${countedCalls.map(({ name }) => name).join(", ")}.`,
    );
  return countedCalls.filter(({ name }) => names.length === 0 || names.includes(name));
}

/** Counts them, in a database of their own. */
export async function countAll(
  calls: readonly CountedCall[],
  say: (text: string) => void,
  { change, withTimes = false }: { change?: (url: string) => Promise<void>; withTimes?: boolean } = {},
): Promise<{ found: Instructions["calls"]; first?: FirstCalls }> {
  await awayFromMidnight(60 + 40 * calls.length, say);
  return await withCounting(
    async (counting) => {
      const found: Instructions["calls"] = {};
      for (const [nth, call] of calls.entries()) {
        say(`counting ${call.name} (${nth + 1} of ${calls.length})`);
        found[call.name] = rounded(await countCall(call, counting));
      }
      return { found, first: withTimes ? await measureFirstCalls(calls, counting, say) : undefined };
    },
    say,
    change,
  );
}

/** The ledger in so many partitions, as `tokenbook partition` makes them. */
export async function split(url: string, number: number): Promise<void> {
  await withClient(url, async (client) => {
    await begin(client, ledger, await planByUser(client, number));
    for await (const _ of copy(client, ledger));
    await compare(client, ledger, () => {});
    await exchange(client, ledger);
    await analyze(client, ledger);
  });
}

const rounded = ({ call, first }: Count): Count => ({
  call: Math.round(call * 10) / 10,
  first: Math.round(first),
});

/** @throws Failure where nothing can be counted */
export function settingHere(): Omit<Instructions, "calls"> {
  return {
    valgrind: valgrindVersion().replace("valgrind-", ""),
    postgres: choosePlace(project).native.packageVersion,
    architecture: process.arch,
  };
}

export function committedInstructions(): Instructions {
  const file = join(projectRoot, page);
  if (!existsSync(file)) throw new Failure(`There is no ${page}: npm run bench -- --instructions --update`);
  return JSON.parse(readFileSync(file, "utf8")) as Instructions;
}

/** @throws Failure when the committed figures are of other programs */
export function requireComparable(here: Omit<Instructions, "calls">, committed: Instructions): void {
  for (const what of ["architecture", "postgres"] as const)
    if (here[what] !== committed[what])
      throw new Failure(
        `${page} was counted with ${what} ${committed[what]}, and this is ${here[what]}, whose instructions are others. ` +
          "Count the code before your change here too (--json), and compare.",
      );
}

/** What was counted against what is committed: a table, and the calls that are further off than they may be. */
export function compared(now: Instructions, committed: Instructions): { text: string; moved: string[] } {
  const table = emptyTable(["call", "kIr", "was", "", "first kIr", "was", "", ""]);
  const moved: string[] = [];
  for (const [name, count] of Object.entries(now.calls)) {
    const was = committed.calls[name];
    const off =
      was === undefined
        ? Infinity
        : Math.max(Math.abs(count.call / was.call - 1), Math.abs(count.first / was.first - 1));
    if (off > tolerance) moved.push(name);
    table.push([
      name,
      shown(count.call),
      shown(was?.call),
      shift(count.call, was?.call),
      shown(count.first, 0),
      shown(was?.first, 0),
      shift(count.first, was?.first),
      was === undefined ? "new" : off > tolerance ? "moved" : "",
    ]);
  }
  return { text: table.toString(), moved };
}

function shift(now: number, was: number | undefined): string {
  return was === undefined ? "" : `${now < was ? "" : "+"}${((now / was - 1) * 100).toFixed(2)} %`;
}

function tableOf({ calls, ...setting }: Instructions, first: FirstCalls | undefined): string {
  const table = emptyTable(["call", "kIr", "first kIr"]);
  for (const [name, count] of Object.entries(calls))
    table.push([name, shown(count.call), shown(count.first, 0)]);
  return [
    table.toString(),
    `Thousands of instructions a call (of a batch, a user), when everything is warm, and of the first call in a connection. PostgreSQL ${setting.postgres}, ${setting.architecture}, valgrind ${setting.valgrind}.`,
    ...(first === undefined || Object.keys(first).length === 0
      ? []
      : [
          `Not exact, and more on a busy machine, CPU ms of the first call in a connection: ${Object.entries(
            first,
          )
            .map(([name, ms]) => `${name} ${ms.toFixed(1)}`)
            .join(", ")} (medians).`,
        ]),
  ].join("\n");
}

function emptyTable(head: string[]): Table.Table {
  return new Table({
    head,
    style: { head: [], border: [] },
    colAligns: head.map((_, i) => (i === 0 ? "left" : "right")),
    chars: { mid: "", "left-mid": "", "mid-mid": "", "right-mid": "" },
  });
}

function shown(figure: number | undefined, digits = 1): string {
  return figure === undefined
    ? ""
    : figure.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/**
 * The first spending of a day (UTC) may be another path than the second, which is counted: both must be on one day.
 *
 * @param seconds so long it may take, on a busy machine
 */
async function awayFromMidnight(seconds: number, say: (text: string) => void): Promise<void> {
  const left = 86_400 - ((Date.now() / 1000) % 86_400);
  if (left > seconds) return;
  say(`a day begins in ${Math.ceil(left)} s: waiting for it`);
  await sleep((left + 1) * 1000);
}
