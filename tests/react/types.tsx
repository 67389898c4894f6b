/** What the compiler knows of the hooks, and what it refuses: checked with everything else by `npm run check`. */
import type { SupabaseClient } from "@supabase/supabase-js";
import { QueryClient, useSuspenseInfiniteQuery, useSuspenseQuery } from "@tanstack/react-query";
import type * as Books from "tokenbook";
import {
  TokenbookProvider,
  TokenGrants,
  tokenKeys,
  tokenQueries,
  TokenUsage,
  useCanSpend,
  useTokenBalance,
  useTokenbook,
  useTokenHistory,
  useTokenQueries,
  useTokenUsage,
  useTokenUser,
} from "tokenbook/react";
import type { Database } from "../../supabase/functions/_shared/database.types.ts";

declare function same<A, B>(
  same: (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false,
): void;

/** Any client of supabase-js will do, and none has to have a user that is known. */
export function providers(untyped: SupabaseClient, typed: SupabaseClient<Database>, userId?: string) {
  return [
    <TokenbookProvider key="a" supabase={untyped} />,
    <TokenbookProvider key="b" supabase={typed} userId={userId} live={false} />,
    <TokenbookProvider key="c" supabase={untyped} userId={null} />,
    // @ts-expect-error: a client there must be
    <TokenbookProvider key="d" />,
    // @ts-expect-error: an id is a text
    <TokenbookProvider key="e" supabase={untyped} userId={5} />,
  ];
}

export function Answers() {
  same<ReturnType<typeof useTokenbook>, Books.Tokenbook>(true);
  same<ReturnType<typeof useTokenUser>, string | null | undefined>(true);
  const balance = useTokenBalance();
  same<typeof balance.data, Books.TokenBalance | undefined>(true);
  const history = useTokenHistory({ limit: 20 });
  same<typeof history.data, Books.TokenTransaction[] | undefined>(true);
  const usage = useTokenUsage({ bucket: "week", by: "model" });
  same<typeof usage.data, Books.UsageReport | undefined>(true);
  const canSpend = useCanSpend(5, { actionType: "chat_conversation", model: "gpt-4" });
  same<typeof canSpend.data, boolean | undefined>(true);

  const queries = useTokenQueries();
  const known = useSuspenseQuery(queries.balance());
  same<typeof known.data, Books.TokenBalance>(true);
  const entries = useSuspenseInfiniteQuery(queries.history());
  same<typeof entries.data, Books.TokenTransaction[]>(true);

  // @ts-expect-error: tokens are a number
  useCanSpend("5");
  // @ts-expect-error: the name of an option
  useCanSpend(5, { action: "chat_conversation" });
  // @ts-expect-error: no such bucket
  useTokenUsage({ bucket: "year" });
  // @ts-expect-error: everyone's use is not for a page
  useTokenUsage({ forEveryone: true });
  return (
    <>
      <TokenGrants>{(grant) => grant.expires_at ?? "for ever"}</TokenGrants>
      <TokenUsage by="action" />
      {/* @ts-expect-error: one of four */}
      <TokenUsage by="colour" />
    </>
  );
}

export async function prefetched(books: Books.Tokenbook, userId: string) {
  const queryClient = new QueryClient();
  const { balance, history } = tokenQueries(books, userId);
  await queryClient.prefetchQuery(balance());
  await queryClient.prefetchInfiniteQuery(history());
  const data = queryClient.getQueryData(balance().queryKey);
  same<typeof data, Books.TokenBalance | undefined>(true);
  await queryClient.invalidateQueries({ queryKey: tokenKeys.user(userId) });
}
