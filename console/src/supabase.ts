import { createClient, type SupabaseClient } from "@supabase/supabase-js";
import type { Config } from "./config.ts";

export interface Connection {
  supabase: SupabaseClient;
  /** Of a read replica, as whoever is signed in. */
  reads: SupabaseClient | undefined;
  /** Forgets who is signed in, in all tabs of this browser; elsewhere they stay signed in. */
  signOut(): Promise<void>;
}

export function connect({ url, key, reads }: Config): Connection {
  // two projects served from one host, one after the other, keep their sessions apart
  const storageKey = `tokenbook-${new URL(url).host}`;
  const supabase = createClient(url, key, { auth: { storageKey, storage } });
  const accessToken = async () => (await supabase.auth.getSession()).data.session?.access_token ?? null;
  return {
    supabase,
    reads: reads === undefined ? undefined : createClient(reads, key, { accessToken }),
    async signOut() {
      const { access_token } = sessionIn(storage.getItem(storageKey)) ?? {};
      // auth-js keeps the session when the server does not answer; and asks nobody where there is none
      storage.removeItem(storageKey);
      await supabase.auth.signOut({ scope: "local" });
      // that the server forgets it too is as well; nobody waits for it
      if (access_token !== undefined)
        await supabase.auth.admin.signOut(access_token, "local").catch(() => {});
    },
  };
}

const memory = new Map<string, string>();

/** Where sessions are kept: the browser's storage; where that is switched off, as long as the page is there. */
const storage = {
  getItem(key: string): string | null {
    const stored = attempt(() => localStorage.getItem(key)) ?? memory.get(key) ?? null;
    // what is no object is beside a session: a code verifier
    return stored?.startsWith("{") && sessionIn(stored) === null ? null : stored;
  },
  setItem(key: string, value: string): void {
    if (attempt(() => (localStorage.setItem(key, value), true)) === undefined) memory.set(key, value);
  },
  removeItem(key: string): void {
    memory.delete(key);
    attempt(() => localStorage.removeItem(key));
  },
};

function attempt<Result>(work: () => Result): Result | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}

/** The session in a stored text; null where the text is none, whatever wrote it. auth-js reads only its tokens. */
function sessionIn(text: string | null): { access_token: string } | null {
  const it = attempt(() => JSON.parse(text ?? "null"));
  const isOne =
    typeof it?.access_token === "string" &&
    typeof it.user?.id === "string" &&
    typeof (it.user.app_metadata ?? undefined) === "object";
  return isOne ? it : null;
}
