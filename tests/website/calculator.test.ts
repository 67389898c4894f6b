/** The calculator says what was measured, times how often, and the guide says what the calculator does. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { withScaleTables } from "../../scripts/bench/scale-page.ts";
import { projectRoot } from "../../scripts/project.ts";
import type { Performance, Scales } from "../../website/calculator/figures.ts";
import { assumptions, type Load, needOf, ways } from "../../website/calculator/model.ts";
import { bytes, duration, number } from "../../website/calculator/words.ts";

const read = (file: string) => readFileSync(join(projectRoot, "docs", file), "utf8");
const scales = JSON.parse(read("scale.json")) as Scales;
const performance = JSON.parse(read("performance.json")) as Performance;
const app: Load = {
  users: 100_000,
  activeUsers: 10_000,
  callsPerDay: 864_000,
  way: "deduct",
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
  for (const way of ways) {
    const one = need({ way });
    for (const more of ["users", "activeUsers", "callsPerDay", "readsPerCall", "peak", "years"] as const) {
      const two = need({ way, [more]: app[more] * 3 + 1 });
      for (const figure of ["cores", "memory", "disk", "logPerDay"] as const)
        expect(two[figure], `${way}: ${figure} by ${more}`).toBeGreaterThanOrEqual(one[figure]);
    }
  }
});

test("the ledger's bytes are those of its tables and indexes, and nothing of the load makes NaN", () => {
  const [{ sizes, entries }] = scales;
  const ledger = Object.entries(sizes).filter(([name]) => name.includes("transactions"));
  const perEntry = ledger.reduce((sum, [, its]) => sum + its, 0) / entries;
  expect(need().diskPerDay).toBeCloseTo(864_000 * perEntry, 0);
  expect(perEntry).toBeGreaterThan(200);
  expect(need({ callsPerDay: 0 }).cores).toBe(1);
  expect(() => need({ users: NaN })).toThrow(RangeError);
  expect(() => need({ peak: -1 })).toThrow(RangeError);
});

test("the next step is none, partitions, a replica, several projects", () => {
  expect(need({ callsPerDay: 1000 }).steps).toEqual([]);
  expect(need().steps).toEqual(["partitions"]);
  expect(need({ callsPerDay: 5e7, readsPerCall: 10 }).steps).toContain("replica");
  expect(need({ callsPerDay: 1e10 }).steps).toContain("projects");
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
