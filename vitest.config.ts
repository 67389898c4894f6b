import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["tests/**/*.test.ts"],
    globalSetup: ["tests/support/global-setup.ts"],
    // Separate processes: a test that kills a connection or hangs must not take its neighbours along.
    pool: "forks",
    maxWorkers: 2,
    // On a busy machine a real server needs time; a test that hangs still fails.
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
