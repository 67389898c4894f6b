/** What an upgraded project and a new one have in common. */
import { type Catalog, catalogOf } from "../../../scripts/schema/catalog.ts";
import { withConnection } from "../../../scripts/schema/connection.ts";
import type { Database } from "../../support/database.ts";

/** The catalog but for what is a project's own: what its app made, and the old tables that were set aside. */
export const catalogOfTheBooks = (db: Database): Promise<Catalog> =>
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
