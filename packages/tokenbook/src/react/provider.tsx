import { useQueryClient } from "@tanstack/react-query";
import { createContext, type ReactNode, useContext, useEffect, useMemo, useState } from "react";
import { tokenbook, type Patience, type Tokenbook } from "../client/index.ts";
import { announcing } from "./announcing.ts";
import { followAccount, followUser, type LiveSupabase } from "./live.ts";
import { tokenKeys, tokenQueries, type TokenUser } from "./queries.ts";

interface Provided {
  books: Tokenbook;
  queries: ReturnType<typeof tokenQueries>;
  userId: TokenUser;
  /** Realtime tells of changes now. */
  isLive: boolean;
}

const Context = createContext<Provided | null>(null);

/** Whose books are read, over which client. */
export interface TokenbookProviderProps {
  /** The client of supabase-js that the app has. Make it once, outside of the components. */
  supabase: LiveSupabase;
  /**
   * Whose books the hooks read; null: nobody's. Left out: of the signed-in user, as `supabase` says. Say it for what a
   * server renders, where the sign-in is elsewhere (`accessToken`), and for an admin who looks at somebody else.
   */
  userId?: string | null | undefined;
  /** false: no Realtime; read again on focus and after own calls. Default: true. */
  live?: boolean | undefined;
  /** How often and how patiently the books are asked; should stay the same from render to render. */
  patience?: Patience | undefined;
  children?: ReactNode;
}

/**
 * The books for the hooks and components below it. It stands within the app's `QueryClientProvider`.
 *
 * @example
 * ```tsx
 * <QueryClientProvider client={queryClient}>
 *   <TokenbookProvider supabase={supabase}>
 *     <App />
 *   </TokenbookProvider>
 * </QueryClientProvider>
 * ```
 */
export function TokenbookProvider(props: TokenbookProviderProps) {
  const { supabase, patience, live = true, children } = props;
  const queryClient = useQueryClient();
  const [signedIn, setSignedIn] = useState<TokenUser>(undefined);
  const [isLive, setIsLive] = useState(false);
  const isGiven = props.userId !== undefined;
  const userId = isGiven ? props.userId : signedIn;

  useEffect(() => {
    let former: string | null = null;
    return followUser(supabase, (now) => {
      setSignedIn(now);
      // the app may be late to say so: until it does, the database refuses what is read anew
      if (isGiven && former !== null && former !== now) {
        void queryClient.resetQueries({ queryKey: tokenKeys.users });
      }
      former = now;
    });
  }, [supabase, queryClient, isGiven]);

  useEffect(() => {
    if (!live || userId == null) return;
    const queryKey = tokenKeys.user(userId);
    const changed = async () => {
      // an older page that is on its way is not given up for what is new
      const onTheirWay = queryClient.getQueryCache().findAll({ queryKey, fetchStatus: "fetching" });
      await Promise.allSettled(onTheirWay.map(({ promise }) => promise));
      await queryClient.invalidateQueries({ queryKey });
    };
    return followAccount(supabase, userId, changed, setIsLive);
  }, [supabase, queryClient, live, userId]);

  const asked = useMemo(() => {
    const quiet = tokenbook(supabase, { userId: userId ?? undefined, patience });
    const changed = () => void queryClient.invalidateQueries({ queryKey: tokenKeys.users });
    return { books: announcing(quiet, changed), queries: tokenQueries(quiet, userId), userId };
  }, [supabase, patience, queryClient, userId]);
  const provided = useMemo((): Provided => ({ ...asked, isLive }), [asked, isLive]);

  return <Context.Provider value={provided}>{children}</Context.Provider>;
}

export function useProvided(): Provided {
  const provided = useContext(Context);
  if (provided === null) throw new Error("there is no TokenbookProvider above this component");
  return provided;
}
