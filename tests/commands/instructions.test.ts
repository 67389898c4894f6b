// @module-tag proof
import { expect, test } from "vitest";
import { Failure } from "local-platform/terminal/failure";
import {
  callsNamed,
  committedInstructions,
  compared,
  countAll,
  requireComparable,
  settingHere,
} from "../../scripts/bench/instructions.ts";
import { readParts } from "../../scripts/bench/callgrind.ts";
import { marked } from "../../scripts/bench/profile.ts";
import { start } from "../support/command.ts";
import { openDatabase } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";

/*
 * Where there is no valgrind, or another kind of processor, nothing can be counted. That is said, and fails only where
 * VALGRIND names one: where it is set, the count must run.
 */
const mustCount = process.env["VALGRIND"] !== undefined;

/** What counts here, or why nothing can. @throws Failure where it must be counted */
function countingHere() {
  try {
    const setting = settingHere();
    const { architecture } = committedInstructions();
    if (mustCount || setting.architecture === architecture) return setting;
    console.log(
      `NOT COUNTED: docs/instructions.json is of ${architecture}, and this is ${setting.architecture}`,
    );
  } catch (error) {
    if (mustCount || !(error instanceof Failure)) throw error;
    console.log(`NOT COUNTED: ${error.message}`);
  }
  return undefined;
}

/** Counts the calls, and compares them with the committed figures; undefined where nothing can be counted. */
async function check(names: string[], change?: (url: string) => Promise<void>) {
  const setting = countingHere();
  if (setting === undefined) return undefined;
  const committed = committedInstructions();
  requireComparable(setting, committed);
  const { found } = await countAll(callsNamed(names), () => {}, { change });
  return { ...compared({ ...setting, calls: found }, committed), found };
}

const mutate = (mutant: string) => async (url: string) => {
  const db = openDatabase(
    "counted",
    () => url,
    async () => {},
  );
  await applyMutant(db, mutant);
  await db.drop();
};

test("every call is as many instructions as docs/instructions.json says", async () => {
  const checked = await check([]);
  if (checked === undefined) return;

  console.log(checked.text);
  expect(Object.keys(checked.found)).toEqual(callsNamed([]).map(({ name }) => name));
  expect(checked.moved).toEqual([]);
}, 1_200_000);

test("the check sees it: one statement more in a deduction", async () => {
  const checked = await check(["deduct"], mutate("deductions-count-the-holds"));
  if (checked === undefined) return;

  console.log(checked.text);
  expect(checked.moved).toEqual(["deduct"]);
}, 300_000);

test("what takes another path is not counted for a deduction", async () => {
  const without = mutate("everything-takes-the-full-path");
  const refused = await check(["deduct"], without).catch((error: Error) => error.message);
  if (refused === undefined) return;

  expect(refused).toMatch(/^deduct is to take another path: it came to .*decide_spending/);
}, 300_000);

test("without valgrind the command says how to get it, and fails", async () => {
  for (const args of [[], ["--check", "deduct"], ["--profile", "deduct"]]) {
    const { status, stdout, stderr } = await start("scripts/bench/bench.ts", ["--instructions", ...args], {
      VALGRIND: "/nowhere/valgrind",
    }).finished;
    expect([status, stdout]).toEqual([1, ""]);
    expect(stderr).toContain("There is no valgrind at /nowhere/valgrind");
    expect(stderr).toContain("apt-get install valgrind");
  }
}, 60_000);

test("a call that there is not is refused, with those that there are", async () => {
  expect(() => callsNamed(["deduct", "deducted"])).toThrow(
    /no call deducted\. There are floor, loop, deduct, /,
  );
});

test("figures of another Postgres or processor are not compared", () => {
  const here = { valgrind: "3.19.0", postgres: "17.1", architecture: "x64" };
  expect(() => requireComparable(here, { ...here, valgrind: "3.25.0", calls: {} })).not.toThrow();
  expect(() => requireComparable(here, { ...here, postgres: "18.1", calls: {} })).toThrow(/postgres 18\.1/);
  expect(() => requireComparable(here, { ...here, architecture: "arm64", calls: {} })).toThrow(/arm64/);
});

test("a figure may be three parts in a hundred off, more or less", () => {
  const of = (call: number, first: number) => ({
    valgrind: "",
    postgres: "",
    architecture: "",
    calls: { deduct: { call, first } },
  });
  const moved = (call: number, first: number) => compared(of(call, first), of(1000, 10_000)).moved;
  expect([moved(1029, 10_299), moved(971, 9_701)]).toEqual([[], []]);
  expect([moved(1031, 10_000), moved(969, 10_000), moved(1000, 10_301)]).toEqual([
    ["deduct"],
    ["deduct"],
    ["deduct"],
  ]);
  expect(compared(of(1, 1), { ...of(1, 1), calls: {} }).moved).toEqual(["deduct"]);
});

test("callgrind's file is read: names given once, calls beside what a function does itself", () => {
  const parts = readParts(
    [
      "part: 1",
      "summary: 30",
      "fn=(1) main",
      "0 10",
      "cfn=(2) insert",
      "calls=2 0",
      "0 20",
      "",
      "fn=(2)",
      "+3 15",
      "* 5",
      "part: 2",
      "summary: 7",
      "fn=(2)",
      "-1 7",
    ].join("\n"),
  );
  expect(parts.map(({ total }) => total)).toEqual([30, 7]);
  expect(Object.fromEntries(parts[0]!.self)).toEqual({ main: 10, insert: 20 });
  expect(Object.fromEntries(parts[0]!.inclusive)).toEqual({ main: 30, insert: 20 });
  expect(Object.fromEntries(parts[1]!.self)).toEqual({ insert: 7 });
  expect(() => readParts("part: 1\nsummary: 9000\nfn=(1) main\n0 1")).toThrow(
    /9000 instructions; 1 were read/,
  );
});

test("a mark comes before each statement of a function, and not into one", () => {
  const lines = [
    "declare",
    "  v_sum bigint;",
    "begin",
    "  /* nothing",
    "     yet; */",
    "  <<all_of_it>>",
    "  for v_sum in",
    "    select 1",
    "  loop",
    "    if v_sum > 1 -- @a-rule: then",
    "      and true",
    "    then",
    "      exit;",
    "    else",
    "      v_sum := case when true then 1",
    "        else 2 end;",
    "    end if;",
    "  end loop;",
    "  return 1;",
    "end",
  ];
  const found = marked(lines.join("\n"), () => "MARK")
    .split("\n")
    .flatMap((line) => (line.startsWith("MARK") ? line.slice("MARK".length).trim() : []));
  expect(found).toEqual([
    "if v_sum > 1 -- @a-rule: then",
    "exit;",
    "v_sum := case when true then 1",
    "return 1;",
  ]);
});
