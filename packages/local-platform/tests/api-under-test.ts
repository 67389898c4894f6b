import { createClient } from "@supabase/supabase-js";
import type { SupabaseClient } from "@supabase/supabase-js";
import ws from "ws";
import { startApi } from "local-platform/gateway/api";
import type { Api, ApiOptions } from "local-platform/gateway/api";
import { createKeys } from "local-platform/gateway/keys";
import type { Keys } from "local-platform/gateway/keys";
import { createTokens } from "local-platform/gateway/tokens";
import type { Claims } from "local-platform/gateway/tokens";
import type { Database } from "local-platform/testing/database";
import { createDatabase } from "./database.ts";

// Node has one of its own from 22 on.
globalThis.WebSocket ??= ws as unknown as typeof WebSocket;

/** An API on an empty project's database, or on another, with whatever SQL the test needs. */
export interface ApiUnderTest {
  db: Database;
  api: Api;
  keys: Keys;
  /** An unmodified supabase-js client; with the publishable key unless another is given. */
  client(key?: string): SupabaseClient;
  /** A client whose every request carries this access token. */
  clientAs(token: string): SupabaseClient;
  /** A raw request: path below the API's URL, `apikey` and JSON's content-type set unless given. */
  fetch(path: string, init?: RequestInit): Promise<Response>;
  /** An access token with these claims, signed as the API signs. */
  token(claims: Claims): Promise<string>;
  close(): Promise<void>;
}

/**
 * Starts one; `sql` runs as `postgres` in its database first.
 *
 * @param database its own, dropped when it closes; default an empty project's.
 */
export async function startApiUnderTest(
  sql = "",
  options: Partial<ApiOptions> = {},
  database?: Database,
): Promise<ApiUnderTest> {
  const db = database ?? (await createDatabase("none"));
  if (sql !== "") await db.admin.query(sql);
  const keys = await createKeys();
  const tokens = await createTokens(keys);
  const api = await startApi({ databaseUrlFor: db.url, keys, port: 0, ...options });
  return {
    db,
    api,
    keys,
    client: (key = keys.publishableKey) =>
      createClient(api.url, key, { auth: { persistSession: false, autoRefreshToken: false } }),
    clientAs: (token) => createClient(api.url, keys.publishableKey, { accessToken: async () => token }),
    fetch(path, init = {}) {
      const headers = new Headers(init.headers);
      if (!headers.has("apikey")) headers.set("apikey", keys.publishableKey);
      if (init.body && !headers.has("content-type")) headers.set("content-type", "application/json");
      return fetch(`${api.url}${path}`, { ...init, headers });
    },
    token: (claims) => tokens.sign({ exp: Math.floor(Date.now() / 1000) + 600, ...claims }),
    async close() {
      await api.close();
      await db.drop();
    },
  };
}
