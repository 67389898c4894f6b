import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    // Separate processes: a test that kills a connection or hangs must not take its neighbours along.
    pool: "forks",
    maxWorkers: 2,
    // On a busy machine a real server needs time; a test that hangs still fails.
    testTimeout: 30_000,
    hookTimeout: 60_000,
    projects: [
      {
        // Plain SQL and plain code, no server: npx vitest run --project scripts
        extends: true,
        test: { name: "scripts", include: ["tests/scripts/**/*.test.ts", "tests/docs/**/*.test.ts"] },
      },
      {
        extends: true,
        test: {
          name: "database",
          include: ["tests/**/*.test.ts"],
          exclude: ["tests/scripts/**", "tests/docs/**"],
          globalSetup: ["tests/support/global-setup.ts"],
        },
      },
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
