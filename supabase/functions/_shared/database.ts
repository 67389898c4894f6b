import type { SupabaseContext } from "@supabase/server";

/** The database as `npm run types` sees it. */
export type { Database } from "./database.types.ts";
import type { Database } from "./database.types.ts";

/** What {@link withSupabase} gives a handler, for our database. */
export type Context = SupabaseContext<Database>;
