/** What the server does for `rendered.tsx`: it reads, renders, and writes down what it has read. */
import { createClient } from "@supabase/supabase-js";
import { dehydrate, QueryClient } from "@tanstack/react-query";
import { renderToString } from "react-dom/server";
import { tokenbook } from "tokenbook";
import { tokenQueries } from "tokenbook/react";
import { Rendered } from "./rendered.tsx";

/** @returns the page, and what it goes on with */
export async function render(url: string, secretKey: string, userId: string) {
  globalThis.WebSocket ??= (() => {}) as never; // Node 20 has none, and supabase-js wants one to be there
  const supabase = createClient(url, secretKey, { auth: { persistSession: false } });
  const queries = tokenQueries(tokenbook(supabase), userId);
  const queryClient = new QueryClient();
  await queryClient.prefetchQuery(queries.balance());
  await queryClient.prefetchQuery(queries.usage());
  await queryClient.prefetchInfiniteQuery(queries.history({ limit: 3 }));
  const state = dehydrate(queryClient);
  const html = renderToString(<Rendered supabase={supabase} userId={userId} state={state} />);
  return { html, state, supabaseChannels: supabase.getChannels().length };
}
