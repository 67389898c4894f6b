/** Several known-bad variants of one promise, each of which has to be seen through. */
import { type CallerFixture, createCallerFixture } from "../../support/callers.ts";
import type { Database } from "../../support/database.ts";
import type { Tried } from "./promise.ts";

export interface Variant {
  change: (db: Database) => Promise<unknown>;
  /** In which violation it must show: finding some other one would prove nothing. */
  seen: RegExp;
}

/**
 * The trial on one fixture that has all of them, which must not hide each other.
 *
 * @returns no violations at all, when one was not seen
 */
export async function tryVariants(
  variants: Record<string, Variant>,
  trial: (fixture: CallerFixture) => Promise<Tried>,
): Promise<Tried> {
  const fixture = await createCallerFixture("legacy", async (db) => {
    for (const { change } of Object.values(variants)) await change(db);
  });
  const tried = await trial(fixture);
  const examples: string[] = [];
  for (const [name, { seen }] of Object.entries(variants)) {
    const example = tried.examples!.find((one) => seen.test(one));
    if (example === undefined)
      return { ...tried, violations: 0, examples: [`not seen: ${name}`, ...tried.examples!] };
    examples.push(example);
  }
  return { ...tried, examples };
}

/** Several trials as one. */
export function together(...tried: Tried[]): Tried {
  const mix: Record<string, number> = {};
  for (const one of tried) {
    for (const [outcome, times] of Object.entries(one.mix)) mix[outcome] = (mix[outcome] ?? 0) + times;
  }
  return {
    times: tried.reduce((total, { times }) => total + times, 0),
    unit: tried[0]!.unit,
    mix,
    violations: tried.reduce((total, { violations }) => total + violations, 0),
    examples: tried.flatMap(({ examples = [] }) => examples),
  };
}
