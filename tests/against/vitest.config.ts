import { defineConfig } from "vitest/config";

/** Of `npm run test:against`: the trials of this folder and no server of our own. */
export default defineConfig({
  test: {
    include: ["tests/against/**/*.test.ts"],
    tags: [{ name: "proof", description: "As in the configuration of the repository." }],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    fileParallelism: false,
  },
});
