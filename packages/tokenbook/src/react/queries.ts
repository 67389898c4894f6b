/** What is asked of the books, under which key: for the hooks, and for apps that prefetch or invalidate. Runs anywhere. */
import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";
import type {
  CanSpendOptions as ClientCanSpendOptions,
  HistoryPage,
  Tokenbook,
  TokenBalance,
  TokenTransaction,
  UsageByOptions,
} from "../client/index.ts";

/** Whose books: null is nobody, undefined is not known yet. */
export type TokenUser = string | null | undefined;

/**
 * The keys of all queries. Each answer about a user has the user in its key: the next user who signs in never sees it.
 *
 * @example
 * ```ts
 * await queryClient.invalidateQueries({ queryKey: tokenKeys.user(userId) });
 * ```
 */
export const tokenKeys = {
  /** Everything of Tokenbook's. */
  all: ["tokenbook"] as const,
  /** What was read of users. */
  users: ["tokenbook", "user"] as const,
  /** What was read of one user. */
  user: (userId: TokenUser) => [...tokenKeys.users, userId ?? null] as const,
  /** What is sold. */
  packs: ["tokenbook", "packs"] as const,
};

/** What tokens are to be spent on. */
export type CanSpendOptions = Pick<ClientCanSpendOptions, "actionType" | "model">;

/** Which uses are added up, and how. A moment should stay the same from render to render: it is part of the key. */
export type TokenUsageOptions = Pick<UsageByOptions, "bucket" | "by" | "from" | "to">;

/**
 * The queries of the hooks, as TanStack Query's options: to prefetch them on a server, to read them with
 * `useSuspenseQuery`, or to change an option of them.
 *
 * @param books asked about `userId`
 * @example
 * ```ts
 * await queryClient.prefetchQuery(tokenQueries(tokenbook(supabase), user.id).balance());
 * ```
 */
export function tokenQueries(books: Tokenbook, userId: TokenUser) {
  // the client has asked again where that helps
  const always = { retry: false, enabled: userId != null } as const;
  const known = () => {
    if (userId == null) throw new TypeError("nobody is signed in: TokenbookProvider has no userId");
    return userId;
  };

  return {
    /** What they can spend now. It is read again when the next grant has run out. */
    balance: () =>
      queryOptions({
        ...always,
        queryKey: [...tokenKeys.user(userId), "balance"],
        queryFn: ({ signal }) => books.balance({ userId: known(), signal }),
        refetchOnWindowFocus: "always",
        refetchInterval: ({ state }) => untilExpiry(state.data),
      }),

    /** Whether so many tokens can be spent now. */
    canSpend: (tokens: number, { actionType, model }: CanSpendOptions = {}) =>
      queryOptions({
        ...always,
        queryKey: [...tokenKeys.user(userId), "canSpend", { tokens, actionType, model }],
        queryFn: ({ signal }) => books.canSpend(tokens, { userId: known(), signal, actionType, model }),
        refetchOnWindowFocus: "always",
      }),

    /** The entries of their ledger, newest first, in pages of `limit`. */
    history: ({ limit }: { limit?: number | undefined } = {}) =>
      infiniteQueryOptions({
        ...always,
        queryKey: [...tokenKeys.user(userId), "history", { limit }],
        queryFn: ({ signal, pageParam }) =>
          books.history({ userId: known(), signal, limit, before: pageParam }).page(),
        initialPageParam: null as number | null,
        getNextPageParam: ({ next_before }: HistoryPage) => next_before,
        select: ({ pages }): TokenTransaction[] => pages.flatMap(({ transactions }) => transactions),
      }),

    /** What they used, in buckets of time. */
    usage: ({ bucket, by, from, to }: TokenUsageOptions = {}) =>
      queryOptions({
        ...always,
        queryKey: [...tokenKeys.user(userId), "usage", { bucket, by, from, to }],
        queryFn: ({ signal }) => books.usageBy({ userId: known(), signal, bucket, by, from, to }),
      }),

    /** The packs that can be bought, cheapest first. Anybody's to read. */
    packs: () =>
      queryOptions({
        retry: false,
        queryKey: tokenKeys.packs,
        queryFn: async ({ signal }) => (await books.packs.list({ signal })).filter((pack) => pack.is_offered),
      }),
  };
}

/** Milliseconds until something of a balance runs out: nothing tells of that. False: not within a day. */
function untilExpiry(balance: TokenBalance | undefined): number | false {
  if (balance?.next_expiry == null) return false;
  const ms = Date.parse(balance.next_expiry) - Date.now();
  if (ms > 86_400_000) return false;
  return ms > 0 ? ms : 30_000; // it should be over: this clock is ahead of the books'
}
