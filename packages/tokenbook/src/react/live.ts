import type { SupabaseLike } from "../client/index.ts";

/** A client of supabase-js in a page: it also says who signs in, and listens. */
export interface LiveSupabase extends SupabaseLike {
  channel(name: string): unknown;
  removeChannel(channel: never): unknown;
}

/** The same, as far as it is needed here. */
interface Supabase {
  channel(name: string): Channel;
  removeChannel(channel: Channel): PromiseLike<unknown>;
  readonly auth: {
    onAuthStateChange(told: (event: string, session: { user: { id: string } } | null) => void): {
      data: { subscription: { unsubscribe(): void } };
    };
  };
  /** Of a project with other sign-ins, whose `auth` is out of reach. */
  readonly accessToken?: unknown;
}

interface Channel {
  on(type: string, filter: object, told: (payload: { extension?: string; status?: string }) => void): Channel;
  subscribe(told: (status: string) => void): Channel;
}

/** Follows which user is signed in. Where the sign-in is elsewhere, no event says so. @returns ends it */
export function followUser(client: LiveSupabase, told: (userId: string | null) => void): () => void {
  const supabase = client as unknown as Supabase;
  if (supabase.accessToken != null) return () => {};
  const { data } = supabase.auth.onAuthStateChange((_, session) => told(session?.user.id ?? null));
  return () => data.subscription.unsubscribe();
}

/** supabase-js gives the channel of a name that it has, also one that is being closed: each has a name of its own. */
let channels = 0;

/** Changes of one spending come together, those of many one after the other: they are one read. */
const togetherMs = 100;

/**
 * Listens to a user's row of `token_accounts`, which every change of their books changes. Where there is no Realtime, or
 * it fails, nobody tells of changes; supabase-js goes on trying.
 *
 * @param changed reads again; not called anew before it is done: of somebody who spends all the time nothing would come in
 * @param listens told whether changes are told of from now on
 * @returns ends it
 */
export function followAccount(
  client: LiveSupabase,
  userId: string,
  changed: () => Promise<unknown>,
  listens: (isLive: boolean) => void,
): () => void {
  const supabase = client as unknown as Supabase;
  let isOver = false;
  let isDue = false;
  let isReading = false;
  const soon = async () => {
    isDue = true;
    if (isReading) return;
    isReading = true;
    while (isDue) {
      await new Promise((later) => setTimeout(later, togetherMs));
      if (isOver) return;
      isDue = false;
      await changed();
    }
    isReading = false;
  };
  const row = { event: "*", schema: "public", table: "token_accounts", filter: `user_id=eq.${userId}` };
  const channel = supabase
    .channel(`tokenbook-${userId}-${++channels}`)
    .on("postgres_changes", row, () => void soon())
    // from now on it listens: what happened before, and while a connection was lost, was not heard
    .on("system", {}, ({ extension, status }) => {
      if (extension !== "postgres_changes") return;
      listens(status === "ok");
      if (status === "ok") void soon();
    })
    // joined is not yet listening: that the other end says itself
    .subscribe((status) => {
      // the end of a channel is said when the next one may be listening already
      if (status !== "SUBSCRIBED" && !isOver) listens(false);
    });
  return () => {
    isOver = true;
    listens(false);
    void supabase.removeChannel(channel);
  };
}
