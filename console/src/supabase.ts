import { createClient, type SupabaseClient } from "@supabase/supabase-js";
import type { Config } from "./config.ts";

export function connect({ url, key }: Config): SupabaseClient {
  return createClient(url, key, {
    // two projects served from one host, one after the other, keep their sessions apart
    auth: { storageKey: `tokenbook-${new URL(url).host}` },
  });
}
