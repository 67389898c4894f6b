// @module-tag proof
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import * as ai from "../../packages/tokenbook/src/ai/index.ts";
import { projectRoot } from "../../scripts/project.ts";
import { createDatabase } from "../support/database.ts";
import { type Ai, type Findings, storm } from "./storm.ts";

const calls = Number(process.env["CALLS"] ?? 2_000);
const seed = Number(process.env["SEED"] ?? 20_261_128);

async function stormed(wrappers: Ai, count: number): Promise<Findings & { seconds: number }> {
  const db = await createDatabase();
  const begin = performance.now();
  try {
    const findings = await storm(db, wrappers, { calls: count, seed });
    return { ...findings, seconds: (performance.now() - begin) / 1000 };
  } finally {
    await db.drop();
  }
}

test(
  `${calls} calls by three SDKs, aborted, cut, refused and stalled, leak no hold and cost what was reported`,
  { timeout: 900_000 },
  async () => {
    const { leaks, violations, mix, charged, seconds } = await stormed(ai, calls);
    console.log(
      `leaks=${leaks} violations=${violations.length} calls=${calls} seed=${seed} mix=${JSON.stringify(mix)} ` +
        `charged=${charged} seconds=${seconds.toFixed(1)}`,
    );
    expect(violations).toEqual([]);
    expect(leaks).toBe(0);
    // or it would have proved less than it says
    for (const outcome of ["completed", "failed", "aborted", "timed_out"]) {
      expect(mix[outcome], outcome).toBeGreaterThan(calls / 200);
    }
  },
);

const src = "packages/tokenbook/src/ai";
const shared = "supabase/functions/_shared";

test.each<{ name: string; file: string; right: string; wrong: string; sees: "leaks" | "violations" }>([
  {
    name: "does not hear that its caller has gone",
    file: `${src}/options.ts`,
    right: "...(call.signal !== undefined && { signal: call.signal }),",
    wrong: "",
    sees: "leaks",
  },
  {
    name: "does not settle what was aborted",
    file: `${shared}/token-hold.ts`,
    right: "const isPaid =",
    wrong: 'if (ended.outcome === "aborted") return ended;\n  const isPaid =',
    sees: "leaks",
  },
  {
    name: "charges answers that end in the middle",
    file: `${src}/fetch.ts`,
    right: "if (!isComplete) throw",
    wrong: "if (false) throw",
    sees: "violations",
  },
  {
    name: "charges answers of the AI SDK that are an error",
    file: `${src}/middleware.ts`,
    right: 'if (type === "error") throw new FailedAnswer(part);',
    wrong: 'if (type === "error") isComplete = true;',
    sees: "violations",
  },
  {
    name: "forgets what came before",
    file: `${shared}/model-usage.ts`,
    right: "this.#reported = merged(this.#reported, reportedIn(it));",
    wrong: "this.#reported = reportedIn(it);",
    sees: "violations",
  },
])(
  "the test sees it: a wrapper that $name",
  { timeout: 120_000 },
  async ({ name, file, right, wrong, sees }) => {
    const folder = mkdtempSync(join(tmpdir(), "tokenbook-ai-"));
    try {
      for (const part of [src, shared])
        cpSync(join(projectRoot, part), join(folder, part), { recursive: true });
      symlinkSync(join(projectRoot, "node_modules"), join(folder, "node_modules"), "junction");
      const parts = readFileSync(join(folder, file), "utf8").split(right);
      expect(parts, `${file} has it once: ${right}`).toHaveLength(2);
      writeFileSync(join(folder, file), parts.join(wrong));
      const { leaks, violations } = await stormed((await import(join(folder, src, "index.ts"))) as Ai, 600);
      console.log(`mutant ${name}: leaks=${leaks} violations=${violations.length} ${violations[0] ?? ""}`);
      expect({ leaks, violations: violations.length }[sees]).toBeGreaterThan(0);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);
