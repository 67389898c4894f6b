import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import type { Tokenbook } from "../client/index.ts";
import { useProvided } from "./provider.tsx";
import type { CanSpendOptions, tokenQueries, TokenUsageOptions, TokenUser } from "./queries.ts";

/**
 * The client, about the provider's user: what it changes is read again by all hooks.
 *
 * @example
 * ```tsx
 * const books = useTokenbook();
 * <button onClick={() => books.deduct(50, { actionType: "chat_conversation" })}>Ask</button>
 * ```
 */
export function useTokenbook(): Tokenbook {
  return useProvided().books;
}

/**
 * Whose books the hooks read: null is nobody, undefined is not known yet.
 *
 * @example
 * ```tsx
 * const userId = useTokenUser();
 * return userId === null ? <a href="/sign-in">Sign in</a> : <TokenBalance />;
 * ```
 */
export function useTokenUser(): TokenUser {
  return useProvided().userId;
}

/**
 * Whether Realtime tells of changes now. Where it does not, what others do is seen on focus, or when the page asks again.
 *
 * @example
 * ```tsx
 * const isLive = useTokenLive();
 * const { data } = useQuery({ ...useTokenQueries().balance(), refetchInterval: isLive ? false : 5_000 });
 * ```
 */
export function useTokenLive(): boolean {
  return useProvided().isLive;
}

/**
 * The queries of the hooks, for other hooks of TanStack Query. With `useSuspenseQuery` there must be a user.
 *
 * @example
 * ```tsx
 * const { data } = useSuspenseQuery(useTokenQueries().balance());
 * ```
 */
export function useTokenQueries(): ReturnType<typeof tokenQueries> {
  return useProvided().queries;
}

/**
 * What the user can spend now. While nobody is signed in it is pending. `error` is a `TokenbookError`.
 *
 * @example
 * ```tsx
 * const { data: balance } = useTokenBalance();
 * return <p>{balance?.total_active} tokens</p>;
 * ```
 */
export function useTokenBalance() {
  return useQuery(useTokenQueries().balance());
}

/**
 * The user's ledger, newest first: `data` has all entries of the pages that were fetched. Ask for the next page while
 * nothing `isFetching`: it would take the place of what is new.
 *
 * @example
 * ```tsx
 * const { data, hasNextPage, fetchNextPage } = useTokenHistory({ limit: 20 });
 * ```
 */
export function useTokenHistory(options?: { limit?: number | undefined }) {
  return useInfiniteQuery(useTokenQueries().history(options));
}

/**
 * What the user used, in buckets of time.
 *
 * @example
 * ```tsx
 * const { data } = useTokenUsage({ bucket: "day", by: "model" });
 * ```
 */
export function useTokenUsage(options?: TokenUsageOptions) {
  return useQuery(useTokenQueries().usage(options));
}

/**
 * Whether the user can spend so many tokens now. Nothing is changed, and nothing is promised.
 *
 * @example
 * ```tsx
 * const { data: canSpend } = useCanSpend(500, { actionType: "article_generation" });
 * return <button disabled={canSpend === false}>Write</button>;
 * ```
 */
export function useCanSpend(tokens: number, options?: CanSpendOptions) {
  return useQuery(useTokenQueries().canSpend(tokens, options));
}
