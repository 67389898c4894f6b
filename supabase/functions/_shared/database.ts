import type { SupabaseContext } from "@supabase/server";
import type { Database } from "./database.types.ts";

/** The database as `npm run types` sees it. */
export type { Database };

/** What `withSupabase` gives a handler, for our database. */
export type Context = SupabaseContext<Database>;
