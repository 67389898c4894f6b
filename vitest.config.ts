import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import { proofFolders } from "./scripts/test-files.ts";

/*
 * `npm test` runs what the product does, in ten minutes on two cores. `npm run test:proofs` runs the proofs: known-bad
 * variants, long trials, faults, installs into whole projects, and the local platform. A proof says so by a
 * tag: `// @module-tag proof` in the first line of a file, or `test("…", { tags: ["proof"] }, …)` where it
 * stands beside the behaviour that it is about.
 *
 * `npx vitest run <file>` runs all tests of a file.
 */
const unit = ["docs", "scripts", "website"].map((folder) => `tests/${folder}/**/*.test.ts`);
const proofs = proofFolders.map((folder) => `tests/${folder}/**/*.test.ts`);
const globalSetup = ["tests/support/global-setup.ts"];

export default defineConfig({
  test: {
    // Processes, not threads: a test that kills its connections or hangs must not take its neighbours along.
    pool: "forks",
    maxWorkers: availableParallelism(),
    // On a busy machine a real server needs time; a test that hangs still fails.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 20_000 } },
    tags: [
      { name: "proof", description: "Shows that a test can fail, or takes long: npm run test:proofs." },
      { name: "browser", description: "Wants a Chromium, and is skipped where there is none." },
    ],
    projects: [
      // Plain SQL and plain code, no server.
      { extends: true, test: { name: "unit", include: unit } },
      {
        extends: true,
        test: {
          name: "behaviour",
          include: ["tests/**/*.test.ts"],
          exclude: [...unit, ...proofs],
          globalSetup,
          // Files share a process, and what they import is read once: a fourth less work.
          isolate: false,
        },
      },
      { extends: true, test: { name: "proofs", include: proofs, globalSetup } },
      {
        extends: true,
        test: {
          name: "platform",
          include: ["packages/local-platform/tests/**/*.test.ts"],
          globalSetup: ["packages/local-platform/tests/global-setup.ts"],
        },
      },
    ],
  },
});
