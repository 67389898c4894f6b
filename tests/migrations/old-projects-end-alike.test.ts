import { expect, test } from "vitest";
import { migrationUp } from "../../scripts/local/supabase-cli.ts";
import { catalogOf, compareCatalogs, describeDifference } from "../../scripts/schema/catalog.ts";
import { withConnection } from "../../scripts/schema/connection.ts";
import { createDatabase, type Database } from "../support/database.ts";
import {
  legacyProject,
  loadBeforeCleanup,
  loadWithImpossibleBalances,
  loadWithNothingCreated,
} from "./legacy/project.ts";

/** The catalog but for what is a project's own: what its app made, and the old tables that were set aside. */
const catalogOfTheBooks = (db: Database) =>
  withConnection(db.url(), async (client) => {
    await client.query(`begin;
      drop function if exists public.grant_annual_tokens;
      drop table if exists
      public.user_profiles, public.customer_subscriptions,
      private.old_token_balances, private.old_token_usage, private.old_token_transactions, private.old_user_storage
      cascade`);
    const catalog = await catalogOf(client);
    await client.query("rollback");
    return catalog;
  });

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
