/** Clients of the books, as apps make them: over supabase-js, of a user, an admin, a server. */
import { createClient, type SupabaseClient } from "@supabase/supabase-js";
import ws from "ws";
import {
  type Tokenbook,
  tokenbook,
  type TokenbookOptions,
} from "../../packages/tokenbook/src/client/index.ts";
import { type AdminBooks, tokenbookAdmin } from "../../packages/tokenbook/src/admin/index.ts";
import type { Caller, Stack } from "../functions/stack.ts";

type Fetch = typeof fetch;

/** A supabase-js client of somebody; by default of the server. */
export function supabaseOf(stack: Stack, caller: Caller = stack.server, by: Fetch = fetch): SupabaseClient {
  const jwt = caller.headers["authorization"]?.slice("Bearer ".length);
  return createClient(stack.url, caller.headers["apikey"]!, {
    realtime: { transport: ws as never },
    global: { fetch: by },
    ...(jwt === undefined
      ? { auth: { persistSession: false, autoRefreshToken: false } }
      : { accessToken: () => Promise.resolve(jwt) }),
  });
}

/** The books of somebody; by default of the server. */
export function booksOf(
  stack: Stack,
  caller?: Caller,
  { by, ...options }: TokenbookOptions & { by?: Fetch } = {},
): Tokenbook {
  return tokenbook(supabaseOf(stack, caller, by), { patience: { pauseMs: 1 }, ...options });
}

/** The same books, as an admin's page asks them. */
export const adminBooksOf = (stack: Stack, caller?: Caller, by?: Fetch): AdminBooks =>
  tokenbookAdmin(supabaseOf(stack, caller, by), { patience: { pauseMs: 1 } });
