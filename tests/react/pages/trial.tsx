/** A page with everything of `tokenbook/react` on it, in words that a test reads. */
import { createClient } from "@supabase/supabase-js";
import { QueryClient, QueryClientProvider, useSuspenseQuery } from "@tanstack/react-query";
import { StrictMode, Suspense, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { TokenbookError } from "tokenbook";
import {
  BuyTokens,
  TokenBalance,
  TokenbookProvider,
  TokenGrants,
  TokenUsage,
  useCanSpend,
  useTokenBalance,
  useTokenbook,
  useTokenHistory,
  useTokenQueries,
  useTokenUser,
} from "tokenbook/react";

const supabase = createClient(location.origin, import.meta.env.VITE_KEY!);
const queryClient = new QueryClient({ defaultOptions: { queries: { staleTime: 60_000 } } });

/** Whose books the app says that it shows. */
const given = new URLSearchParams(location.search).get("user") ?? undefined;

/** Every number that was ever shown, with whose it was to be. */
const shown: string[] = [];
Object.assign(window, { supabase, shown });

function Watched() {
  const user = useTokenUser();
  const { data, error } = useTokenBalance();
  useEffect(() => {
    if (data !== undefined) shown.push(`${user} sees ${data.total_active} of ${data.user_id}`);
  });
  return (
    <p id="watched">
      {String(user)} {data?.user_id ?? "-"} {error instanceof TokenbookError ? error.code : String(error)}
    </p>
  );
}

function Suspended() {
  const { data } = useSuspenseQuery(useTokenQueries().balance());
  return <p id="suspended">{data.total_active}</p>;
}

function Books() {
  const user = useTokenUser();
  const books = useTokenbook();
  const history = useTokenHistory({ limit: 3 });
  const few = useCanSpend(100, { actionType: "chat_conversation" });
  const many = useCanSpend(100_000);
  const [said, setSaid] = useState("");
  const spend = async (tokens: number) => {
    const spent = await books.deduct(tokens, { actionType: "chat_conversation" });
    setSaid(spent.success ? "spent" : `${spent.tokens_remaining_to_deduct} are missing`);
  };
  return (
    <>
      <p id="can">
        {String(few.data)} {String(many.data)}
      </p>
      <button id="spend" onClick={() => void spend(150)} />
      <button id="overspend" onClick={() => void spend(1_000_000)} />
      <p id="said">{said}</p>
      <ul id="history">
        {history.data?.map((entry) => (
          <li key={entry.id}>{entry.tokens}</li>
        ))}
      </ul>
      {history.hasNextPage && <button id="more" onClick={() => void history.fetchNextPage()} />}
      <TokenUsage bucket="day" by="action" locale="en" />
      {user && given === undefined && (
        <Suspense fallback="">
          <Suspended />
        </Suspense>
      )}
    </>
  );
}

function Page() {
  const [isOpen, setOpen] = useState(true);
  return (
    <>
      <button id="leave" onClick={() => setOpen(!isOpen)} />
      {isOpen && (
        <TokenbookProvider supabase={supabase} userId={given}>
          <TokenBalance className="total" locale="en" />
          <TokenGrants locale="en" />
          <Watched />
          <Books />
          <BuyTokens locale="en" />
        </TokenbookProvider>
      )}
    </>
  );
}

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <QueryClientProvider client={queryClient}>
      <Page />
    </QueryClientProvider>
  </StrictMode>,
);
