import { expect, test } from "vitest";
import * as tokenHold from "../../../../supabase/functions/_shared/token-hold.ts";
import { createDatabase } from "../../../support/database.ts";
import { type Fault, withVariant } from "./files.ts";
import { type Findings, type Helper, simulate } from "./simulation.ts";

const streams = Number(process.env["STREAMS"] ?? 2_000);
const seed = Number(process.env["SEED"] ?? 20_261_121);

async function simulated(
  helper: Helper,
  count: number,
  until?: "leaks" | "violations",
): Promise<Findings & { seconds: number }> {
  const db = await createDatabase();
  const begin = performance.now();
  try {
    const findings = await simulate(db, helper, { streams: count, seed, until });
    return { ...findings, seconds: (performance.now() - begin) / 1000 };
  } finally {
    await db.drop();
  }
}

test(
  `${streams} streams with faults leak no hold, are charged once for what they used, and lose no token`,
  { tags: ["proof"], timeout: 600_000 },
  async () => {
    const { leaks, violations, mix, faults, questions, tokens, late, seconds } = await simulated(
      tokenHold,
      streams,
    );
    console.log(
      `leaks=${leaks} violations=${violations.length} streams=${streams} seed=${seed} mix=${JSON.stringify(mix)} ` +
        `faults=${JSON.stringify(faults)} questions=${questions} charged=${tokens.charged} ` +
        `uncovered=${tokens.uncovered} late=${late} seconds=${seconds.toFixed(1)}`,
    );
    expect(violations).toEqual([]);
    expect(leaks).toBe(0);
    // or it would have proved less than it says
    for (const outcome of ["completed", "failed", "aborted", "timed_out", "not settled", "short"]) {
      expect(mix[outcome], outcome).toBeGreaterThan(streams / 500);
    }
    for (const refused of ["refused: open", "refused: settled"]) expect(mix[refused]).toBeGreaterThan(0);
    expect(late).toBeGreaterThan(0);
    expect(tokens.uncovered).toBeGreaterThan(0);
  },
);

/** Known-bad variants of the helper: what each does not do, and how that is seen. */
const mutants: (Fault & { name: string; sees: "leaks" | "violations" })[] = [
  {
    name: "does not settle when it is aborted",
    file: "token-hold.ts",
    right: "const isPaid =",
    wrong: 'if (ended.outcome === "aborted") return ended;\n  const isPaid =',
    sees: "leaks",
  },
  {
    name: "does not settle when the work throws",
    file: "token-hold.ts",
    right: "const isPaid =",
    wrong: 'if (ended.outcome === "failed") return ended;\n  const isPaid =',
    sees: "leaks",
  },
  {
    name: "asks the books once",
    file: "until-heard.ts",
    right: "attempt >= attempts ||",
    wrong: "true ||",
    sees: "leaks",
  },
  {
    name: "reserves without a key",
    file: "hold-books.ts",
    right: "p_idempotency_key: key,",
    wrong: "",
    sees: "leaks",
  },
  {
    name: "takes another run for its own",
    file: "hold-books.ts",
    right: "const run = crypto.randomUUID();",
    wrong: "const run = terms.idempotencyKey ?? crypto.randomUUID();",
    sees: "violations",
  },
  {
    name: "charges a late use without a key",
    file: "hold-books.ts",
    right: "p_idempotency_key: lateKey(held.holdId)",
    wrong: "p_idempotency_key: undefined",
    sees: "violations",
  },
  {
    name: "charges failed calls",
    file: "token-hold.ts",
    right: 'outcome === "failed" ? "nothing" : "reported"',
    wrong: '"reported"',
    sees: "violations",
  },
];

test.each(mutants)("the test sees it: a helper that $name", { tags: ["proof"] }, ({ name, sees, ...fault }) =>
  withVariant(fault, async ({ helper }) => {
    const { leaks, violations } = await simulated(helper, 400, sees);
    console.log(`mutant ${name}: leaks=${leaks} violations=${violations.length} ${violations[0] ?? ""}`);
    expect({ leaks, violations: violations.length }[sees]).toBeGreaterThan(0);
  }),
);
