/** The calculator says what was measured, times how often, and the guide says what the calculator does. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { withScaleTables } from "../../scripts/bench/scale-page.ts";
import { projectRoot } from "../../scripts/project.ts";
import { apps } from "../../website/calculator/apps.ts";
import type { Performance, Scales } from "../../website/calculator/figures.ts";
import { readTyped } from "../../website/calculator/input.ts";
import { assumptions, type Load, needOf, ways } from "../../website/calculator/model.ts";
import { after, bytes, duration, number, steps } from "../../website/calculator/words.ts";

const read = (file: string) => readFileSync(join(projectRoot, "docs", file), "utf8");
const scales = JSON.parse(read("scale.json")) as Scales;
const performance = JSON.parse(read("performance.json")) as Performance;
const app: Load = {
  users: 100_000,
  activeUsers: 10_000,
  callsPerDay: 864_000,
  way: "deduct",
  keyed: false,
  readsPerCall: 0,
  peak: 10,
  years: 1,
};
const need = (its: Partial<Load> = {}) => needOf({ ...app, ...its }, scales, performance);

test("the tables of the guide are of docs/scale.json", () => {
  expect(withScaleTables(read("guides/scale.md"), scales)).toBe(read("guides/scale.md"));
  expect(() => withScaleTables("", scales)).toThrow("no place");
});

test("a day's calls at their peak, by the CPU of one, are the cores that are half busy", () => {
  const { peakPerSecond, cpuUs, cores } = need();
  expect(peakPerSecond).toBe(100);
  expect(cpuUs).toBe(performance.contenders["deduct"]!["8"]!.cpuUs);
  expect(cores).toBe(1);
  const much = need({ callsPerDay: 864_000 * 100 });
  const busy = (10_000 * cpuUs) / 1e6 / assumptions.busy;
  expect(much.cores).toBe(2 + Math.ceil((busy - 2) / assumptions.perCoreMore));
});

test("more of anything never needs less, and each way to spend has its figures", () => {
  const figures = ["cpuUs", "cores", "machines", "memory", "disk", "logPerDay"] as const;
  for (const way of ways)
    for (const keyed of [false, true]) {
      const one = need({ way, keyed });
      for (const more of ["users", "activeUsers", "callsPerDay", "readsPerCall", "peak", "years"] as const) {
        const two = need({ way, keyed, [more]: app[more] * 3 + 1 });
        for (const figure of figures)
          expect(two[figure], `${way}: ${figure} by ${more}`).toBeGreaterThanOrEqual(one[figure]);
      }
      if (!keyed) continue;
      const without = need({ way, keyed: false });
      for (const figure of ["cpuUs", "disk", "logPerDay"] as const)
        expect(one[figure], `${way}: ${figure} with a key`).toBeGreaterThan(without[figure]);
    }
});

const [scale] = scales;
const ofAll = (what: string) =>
  scale.calls.find((one) => one.what === what && one.users === scale.users && one.clients === 8)!;
const few = (what: string) => performance.contenders[what]!["8"]!;

test("the log of a call is that of a million users, and what was not measured is taken from what was", () => {
  const logOf = (its: Partial<Load>) => need(its).logPerDay / app.callsPerDay;
  expect(logOf({})).toBeCloseTo(ofAll("deduct").walBytes);
  expect(logOf({ keyed: true })).toBeCloseTo(ofAll("deduct, keyed").walBytes);
  expect(logOf({ way: "track" })).toBeCloseTo(ofAll("track").walBytes);
  const key = ofAll("deduct, keyed").walBytes - ofAll("deduct").walBytes;
  expect(logOf({ way: "track", keyed: true })).toBeCloseTo(ofAll("track").walBytes + key);
  const hold = few("hold + capture").walBytes * (ofAll("deduct").walBytes / few("deduct").walBytes);
  expect(logOf({ way: "hold + capture" })).toBeCloseTo(hold);
  expect(logOf({ way: "hold + capture", keyed: true })).toBeCloseTo(hold + key);
});

test("the CPU of a call is the larger of what was measured", () => {
  const more = structuredClone(scales) as unknown as [Scales[0]];
  for (const call of more[0].calls) call.cpuUs *= 10;
  expect(need({ keyed: true }).cpuUs).toBe(few("deduct, keyed").cpuUs);
  expect(needOf(app, more, performance).cpuUs).toBe(ofAll("deduct").cpuUs * 10);
});

test("a day's bytes are those that a call adds to all tables, with a key more, and the spare is in every figure", () => {
  const spare = 1 + assumptions.spareDisk;
  for (const way of ways)
    for (const keyed of [false, true]) {
      const its = scale.callBytes[keyed ? `${way}, keyed` : way]!;
      const perCall = Object.values(its).reduce((sum, one) => sum + one, 0);
      expect(need({ way, keyed }).diskPerDay).toBeCloseTo(app.callsPerDay * perCall * spare, 0);
    }
  expect(scale.callBytes["hold + capture, keyed"]).toHaveProperty("token_holds");
  expect(scale.callBytes["track, keyed"]).toHaveProperty("token_usage");
  const { disk, diskPerDay, terabyteAfter } = need();
  const accounts = disk - diskPerDay * 365;
  expect(accounts + (diskPerDay * 365 * terabyteAfter) / 12).toBeCloseTo(1e12, -3);
  expect(need({ years: terabyteAfter / 12 }).disk).toBeCloseTo(1e12, -3);
});

test("machines are as many as cores or disk make necessary", () => {
  expect(need().machines).toBe(1);
  const manyCores = need({ callsPerDay: 1e9, years: 0.1 });
  expect(manyCores.disk).toBeLessThan(manyCores.machines * assumptions.mostDisk);
  expect(manyCores.machines).toBe(Math.ceil(manyCores.cores / assumptions.mostCores));
  const muchDisk = need({ callsPerDay: 2e7, years: 30, peak: 1 });
  expect(muchDisk.cores).toBeLessThan(assumptions.mostCores);
  expect(muchDisk.machines).toBe(Math.ceil(muchDisk.disk / assumptions.mostDisk));
  for (const load of Object.values(apps)) {
    const its = needOf(load, scales, performance);
    expect(its.machines * assumptions.mostDisk).toBeGreaterThanOrEqual(its.disk);
    expect(its.steps.some(({ step }) => step === "projects")).toBe(its.machines > 1);
  }
});

test("no number of the load makes NaN, and what is no number is refused", () => {
  for (const [name, value] of Object.entries(need({ callsPerDay: 0 }))) expect(value, name).not.toBe(NaN);
  expect(need({ callsPerDay: 0 }).cores).toBe(1);
  expect(() => need({ users: NaN })).toThrow(RangeError);
  expect(() => need({ peak: -1 })).toThrow(RangeError);
});

test("the next step is none, partitions, a replica, several projects, and when", () => {
  const stepsOf = (its: Partial<Load>) => need(its).steps.map(({ step }) => step);
  expect(stepsOf({ callsPerDay: 1000 })).toEqual([]);
  expect(stepsOf({ years: 3 })).toEqual(["partitions"]);
  expect(stepsOf({ callsPerDay: 5e7, readsPerCall: 10 })).toContain("replica");
  expect(stepsOf({ callsPerDay: 1e10 })).toContain("projects");
  expect(need({ callsPerDay: 1e10 }).steps.at(-1)).toEqual({ step: "projects", after: 0 });
  // as long as it is not due, it is not said; at that many months the ledger and the disk are as large as they may be
  const [partitions, projects] = need({ callsPerDay: 2e7, years: 30, peak: 1 }).steps;
  expect([partitions!.step, projects!.step]).toEqual(["partitions", "projects"]);
  expect(need({ callsPerDay: 2e7, years: projects!.after / 12, peak: 1 }).disk).toBeCloseTo(16e12, -6);
  expect(stepsOf({ callsPerDay: 2e7, years: (partitions!.after / 12) * 0.99, peak: 1 })).toEqual([]);
  expect(steps([])).toBe("nothing");
  expect(
    steps([
      { step: "partitions", after: 5.4 },
      { step: "projects", after: 0 },
    ]),
  ).toBe("partitions after 5 months, several projects from the start");
  expect([0.3, 1.2, 2000].map(after)).toEqual([
    "in the first month",
    "after 1 month",
    "after more than 100 years",
  ]);
});

test("what cannot be taken is said, field by field", () => {
  const typed = {
    users: "200,000",
    activeUsers: "20 000",
    callsPerDay: "1e6",
    readsPerCall: "2",
    peak: "5",
    years: ".5",
  };
  expect(readTyped(typed)).toEqual({
    numbers: { users: 200_000, activeUsers: 20_000, callsPerDay: 1e6, readsPerCall: 2, peak: 5, years: 0.5 },
    messages: {},
  });
  const messages = (its: Partial<typeof typed>) => readTyped({ ...typed, ...its }).messages;
  for (const no of ["", " ", "many", "0,5", "1.000.000", "0x10", "Infinity", "1e"])
    expect(messages({ years: no }), no).toEqual({ years: "Please type a number." });
  expect(messages({ callsPerDay: "0" })).toEqual({ callsPerDay: "At least 1." });
  expect(messages({ readsPerCall: "-1" })).toEqual({ readsPerCall: "At least 0." });
  expect(messages({ peak: "51" })).toEqual({ peak: "At most 50." });
  expect(messages({ users: "1e10" })).toEqual({ users: "At most 1,000,000,000." });
  expect(messages({ users: "100" })).toEqual({ activeUsers: "More than there are users." });
});

test("numbers are said as people say them", () => {
  expect([bytes(0), bytes(999), bytes(26_877e6), bytes(1.59e12)]).toEqual([
    "0 bytes",
    "999 bytes",
    "26.9 GB",
    "1.59 TB",
  ]);
  expect([duration(0.36), duration(41.3), duration(17_340), duration(NaN)]).toEqual([
    "360 ms",
    "41.3 s",
    "4.82 h",
    "not measured",
  ]);
  expect([number(0.579), number(17_361.2)]).toEqual(["0.579", "17,361"]);
});
