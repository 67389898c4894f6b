/**
 * The promises of docs/PROMISES.md. Each is tried as often as there is time for, shortly with
 * `npm run test:proofs` and long with `npm run promises`, which writes the page; and each has a known-bad
 * variant in which the same trial must find what it looks for.
 */
import { expect, test } from "vitest";
import { seed } from "../../support/dice.ts";

declare module "vitest" {
  interface TaskMeta {
    promise?: Kept;
  }
}

/** `short` is part of `npm run test:proofs` and takes seconds; `long` may take two minutes. */
export type Scale = "short" | "long";

const scale: Scale = process.env["PROMISES"] === "long" ? "long" : "short";

/** What a trial was and what came of it. */
export interface Tried {
  /** How many attempts, inputs, cells, rounds: whatever `unit` says. */
  times: number;
  unit: string;
  /** How often each outcome came. A trial in which nothing much happens proves nothing. */
  mix: Record<string, number>;
  /** How often the promise was broken, with a few examples in words. */
  violations: number;
  examples?: string[];
}

export interface PromiseToKeep {
  /** As in the table of promises: `P1` to `P28`. */
  id: `P${number}`;
  /** In one sentence. */
  promise: string;
  /** What is done to try it, in one sentence. */
  trial: string;
  /** Tries it. */
  run: (scale: Scale) => Promise<Tried>;
  /** The known-bad variant, in words, and the same trial on it. */
  control: { variant: string; run: () => Promise<Tried> };
}

/** What the page says of a promise. */
export interface Kept {
  id: string;
  promise: string;
  trial: string;
  scale: Scale;
  tried: Tried;
  seconds: number;
  control: { variant: string; violations: number; examples: string[] };
}

/** Makes the test of a promise. */
export function keep({ id, promise, trial, run, control }: PromiseToKeep): void {
  test(
    `${id} ${promise}`,
    async ({ task }) => {
      const started = Date.now();
      const tried = await run(scale);
      const seconds = Math.round((Date.now() - started) / 100) / 10;
      const bad = await control.run();

      task.meta.promise = {
        id,
        promise,
        trial,
        scale,
        tried,
        seconds,
        control: {
          variant: control.variant,
          violations: bad.violations,
          examples: (bad.examples ?? []).slice(0, 2),
        },
      };
      console.log(
        `${id} figure=${tried.violations} of ${tried.times} ${tried.unit} in ${seconds} s, seed=${seed}, mix=${JSON.stringify(tried.mix)}, control "${control.variant}": ${bad.violations} of ${bad.times}`,
      );
      expect(tried.examples ?? [], id).toEqual([]);
      expect(tried.violations, id).toBe(0);
      expect(tried.times, `${id} tried nothing`).toBeGreaterThan(0);
      expect(
        bad.violations,
        `${id}: the known-bad variant was not seen through: ${bad.examples?.slice(0, 3).join("; ")}`,
      ).toBeGreaterThan(0);
    },
    scale === "long" ? 900_000 : 300_000, // a hang; how long something takes is no promise
  );
}
