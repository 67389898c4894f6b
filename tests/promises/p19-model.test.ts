import { applyMutant } from "../support/mutants.ts";
import { booksWithAClock, check } from "../model/check.ts";
import { keep, type Tried } from "./promise.ts";

keep({
  id: "P19",
  promise: "The books do what a reference model of them does",
  trial:
    "Random sequences of up to 50 commands (grant, deduct, track, reserve, capture, release, refund, void, adjust, replays of keys, steps of the clock), every answer compared with an independent model in memory",
  run: (scale) => compare(scale === "long" ? 10_000 : 200, null),
  control: { variant: "spends the newest grant first", run: () => compare(300, "lifo") },
});

/** What must have happened: a run in which nothing much does proves nothing. */
const telling = [
  "deduct: deducted",
  "deduct: short",
  "deduct: replayed",
  "track: partly",
  "capture: less",
  "capture: more: deduct",
  "capture: was expired",
  "refund: restored",
  "refund: forfeited",
  "refund: reissued",
  "refund: refund_exceeds_charge",
  "void: owing",
];

async function compare(sequences: number, mutant: string | null): Promise<Tried> {
  const seed = Number(process.env["MODEL_SEED"] ?? Date.now() % 2 ** 31);
  const unit = `sequences (seed ${seed})`;
  const books = await booksWithAClock();
  if (mutant !== null) await applyMutant(books, mutant);
  try {
    const mix = await check(books, sequences, seed);
    const missing = telling.filter((outcome) => !mix[outcome]);
    return {
      ...{ times: sequences, unit, mix, violations: missing.length },
      examples: missing.map((outcome) => `never seen: ${outcome}`),
    };
  } catch (error) {
    const { message, cause } = error as Error;
    return {
      ...{ times: sequences, unit, mix: {}, violations: 1 },
      examples: [`${message}\n${cause instanceof Error ? cause.message : ""}`],
    };
  } finally {
    await books.drop();
  }
}
