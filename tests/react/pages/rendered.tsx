/** A page that a server renders with what it has read, and that goes on in the browser. */
import { dehydrate, HydrationBoundary, QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { useState } from "react";
import {
  type LiveSupabase,
  TokenBalance,
  TokenbookProvider,
  TokenGrants,
  TokenUsage,
  useTokenHistory,
} from "tokenbook/react";

export interface RenderedProps {
  supabase: LiveSupabase;
  userId: string;
  state: ReturnType<typeof dehydrate>;
}

export function Rendered({ supabase, userId, state }: RenderedProps) {
  const [queryClient] = useState(
    () => new QueryClient({ defaultOptions: { queries: { staleTime: 60_000 } } }),
  );
  return (
    <QueryClientProvider client={queryClient}>
      <HydrationBoundary state={state}>
        <TokenbookProvider supabase={supabase} userId={userId}>
          <TokenBalance className="total" />
          <TokenGrants />
          <TokenUsage />
          <History />
        </TokenbookProvider>
      </HydrationBoundary>
    </QueryClientProvider>
  );
}

function History() {
  const { data } = useTokenHistory({ limit: 3 });
  return <p id="history">{data?.map((entry) => entry.tokens).join(" ")}</p>;
}
