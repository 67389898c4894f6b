// @module-tag proof
import { expect, test } from "vitest";
import { migrationUp } from "local-platform/project/supabase-cli";
import { compareCatalogs, describeDifference } from "../../scripts/schema/catalog.ts";
import { createDatabase } from "../support/database.ts";
import { catalogOfTheBooks } from "./legacy/catalog.ts";
import {
  legacyProject,
  loadBeforeCleanup,
  loadWithImpossibleBalances,
  loadWithNothingCreated,
} from "./legacy/project.ts";

test.each([
  ["an old project that ran no clean-up", loadBeforeCleanup],
  ["a project where the first clean-up created nothing", loadWithNothingCreated],
  ["a project with impossible balances", loadWithImpossibleBalances],
])("%s ends with the same tables, functions and rights as an empty one", async (state, load) => {
  const empty = await createDatabase();
  const old = await createDatabase({ template: "platform" });
  await load(old, legacyProject());
  await migrationUp({ url: old.url(), includeAll: true });

  const expected = await catalogOfTheBooks(empty);
  const differences = compareCatalogs(expected, await catalogOfTheBooks(old));
  await Promise.all([empty.drop(), old.drop()]);

  console.log(`${state}: facts=${expected.size} differences=${differences.length}`);
  expect(differences.map((difference) => describeDifference(difference, "empty", "old"))).toEqual([]);
});
