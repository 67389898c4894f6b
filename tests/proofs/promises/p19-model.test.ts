// @module-tag proof
import { seed } from "../../support/dice.ts";
import { applyMutant } from "../../support/mutants.ts";
import { booksWithAClock, check } from "../../model/check.ts";
import type { Mix } from "../../model/commands.ts";
import { keep, type Tried } from "./promise.ts";

keep({
  id: "P19",
  promise: "The books do what a reference model of them does",
  trial:
    "Random sequences of up to 50 commands (grant, grants to come and calling them off, deduct, batches of deductions, track with and without an overdraft, reserve, split holds, capture, release, refund, void, adjust; payments asked for, approved, rejected and paid back; changes of plan, renewals with what they carry over; a provider's events late, twice and in any order; replays of keys, sweeps, steps of the clock), a quarter of them with the burn order expiring_first, every answer compared with an independent model in memory",
  run: (scale) => compare(scale === "long" ? 10_000 : 160, null),
  control: { variant: "spends the newest grant first", run: () => compare(240, "lifo") },
});

/** What must have happened: a run in which nothing much does proves nothing. */
const telling = [
  "promise: promised",
  "deduct: deducted",
  "deduct: short",
  "deduct: replayed",
  "track: partly",
  "split: split",
  "capture: less",
  "capture: was expired",
  "refund: restored",
  "refund: refund_exceeds_charge",
  "batch: all deducted",
  "batch: undone: short",
  "approve: approved",
  "change: begun",
  "change: noted down",
  "renew: had begun",
  "event: paid",
  "event: paid, and taken back",
  "event: taken back",
  "event: again",
];

/** What is too rare for a short run. */
const tellingAtLength = [
  "track: overdrawn",
  "refund: let off",
  "split: parent_hold_short",
  "capture: more: deduct",
  "call off: called off",
  "refund: forfeited",
  "refund: reissued",
  "void: owing",
  "approve: had been",
  "pay back: in part",
  "pay back: in full",
  "change: replayed",
  "renew: begun",
  "renew: full already",
  "event: given back",
];

async function compare(sequences: number, mutant: string | null): Promise<Tried> {
  const unit = `sequences (seed ${seed})`;
  const mix: Mix = {};
  try {
    for (const [order, share] of [
      ["fifo", 0.75],
      ["expiring_first", 0.25],
    ] as const) {
      const books = await booksWithAClock(order);
      try {
        if (mutant !== null) await applyMutant(books, mutant);
        for (const [outcome, count] of Object.entries(await check(books, sequences * share, seed)))
          mix[outcome] = (mix[outcome] ?? 0) + count;
      } finally {
        await books.drop();
      }
    }
    const expected = sequences < 1_000 ? telling : [...telling, ...tellingAtLength];
    const missing = expected.filter((outcome) => !mix[outcome]);
    return {
      times: sequences,
      unit,
      mix,
      violations: missing.length,
      examples: missing.map((outcome) => `never seen: ${outcome}`),
    };
  } catch (error) {
    const { message, cause } = error as Error;
    return {
      times: sequences,
      unit,
      mix: {},
      violations: 1,
      examples: [`${message}\n${cause instanceof Error ? cause.message : ""}`],
    };
  }
}
