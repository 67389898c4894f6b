/** What an upgraded project and a new one have in common. */
import { type Catalog, catalogOf, ownFacts } from "../../../../packages/tokenbook/src/catalog/catalog.ts";
import { withConnection } from "../../../../packages/tokenbook/src/database/connection.ts";
import type { Database } from "../../../support/database.ts";

/** The catalog of what is Tokenbook's, but for the old tables that were set aside and an old function of the app. */
export const catalogOfTheBooks = (db: Database): Promise<Catalog> =>
  withConnection(db.url(), async (client) => {
    await client.query(`begin;
      drop function if exists public.grant_annual_tokens;
      drop table if exists
      tokenbook.old_token_balances, tokenbook.old_token_usage, tokenbook.old_token_transactions, tokenbook.old_user_storage
      cascade`);
    const catalog = await catalogOf(client);
    await client.query("rollback");
    return ownFacts(catalog);
  });
