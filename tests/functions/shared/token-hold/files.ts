import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import type * as budget from "../../../../packages/tokenbook/src/ai/budget.ts";
import { projectRoot } from "../../../../scripts/project.ts";
import type { Helper } from "./simulation.ts";

/** The files of `_shared` that `withTokenHold` is made of: it imports nothing else. */
export const holdFiles = [
  "token-hold.ts",
  "hold-books.ts",
  "until-heard.ts",
  "token-error.ts",
  "errors.ts",
  "names.ts",
  "known-options.ts",
  "lists.ts",
] as const;

const shared = "supabase/functions/_shared";
const budgetFile = "packages/tokenbook/src/ai/budget.ts";

/** One thing done wrong, to show that a test can fail. */
export interface Fault {
  file: (typeof holdFiles)[number] | "budget.ts";
  /** Is there exactly once. */
  right: string;
  wrong: string;
}

/** `withTokenHold` and `tokenBudget` with something done wrong, for as long as the work takes. */
export async function withVariant(
  { file, right, wrong }: Fault,
  work: (variant: { helper: Helper; budget: typeof budget }) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "tokenbook-helper-"));
  try {
    for (const path of [...holdFiles.map((name) => `${shared}/${name}`), budgetFile])
      cpSync(join(projectRoot, path), join(folder, path));
    const path = join(folder, file === "budget.ts" ? budgetFile : `${shared}/${file}`);
    const parts = readFileSync(path, "utf8").split(right);
    expect(parts, `${file} has it once: ${right}`).toHaveLength(2);
    writeFileSync(path, parts.join(wrong));
    await work({
      helper: (await import(join(folder, shared, "token-hold.ts"))) as Helper,
      budget: (await import(join(folder, budgetFile))) as typeof budget,
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}
