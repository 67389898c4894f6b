import type { Session, SupabaseClient } from "@supabase/supabase-js";
import { createContext, type ReactNode, useContext, useEffect, useMemo, useState } from "react";
import type { Connection } from "./supabase.ts";

interface Provided {
  supabase: SupabaseClient;
  /** Of a read replica, where there is one: what is read there may be a moment old. */
  reads: SupabaseClient | undefined;
  /** null: nobody is signed in; undefined: not known yet. */
  session: Session | null | undefined;
  signOut: () => Promise<void>;
}

const Context = createContext<Provided | null>(null);

/** The user who is signed in, and the client through which they are. The books are read by the hooks of `tokenbook/react`. */
export function SessionProvider({
  connection: { supabase, reads, signOut },
  children,
}: {
  connection: Connection;
  children: ReactNode;
}) {
  const [session, setSession] = useState<Session | null>();
  useEffect(() => {
    const { data } = supabase.auth.onAuthStateChange((_, now) => setSession(now));
    return () => data.subscription.unsubscribe();
  }, [supabase]);
  const provided = useMemo(
    () => ({ supabase, reads, session, signOut }),
    [supabase, reads, session, signOut],
  );
  return <Context.Provider value={provided}>{children}</Context.Provider>;
}

/** Whether the token says that they are an admin: what is shown goes by it, and nothing that is allowed does. */
export const isAdminSession = (session: Session | null | undefined): boolean =>
  session?.user.app_metadata["role"] === "admin";

export function useSession(): Provided {
  const provided = useContext(Context);
  if (provided === null) throw new Error("there is no SessionProvider above this component");
  return provided;
}
