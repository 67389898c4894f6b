import { useMutation } from "@tanstack/react-query";
import { TokenBalance, TokenGrants, useTokenbook, useTokenHistory, useTokenUser } from "tokenbook/react";
import { signIn } from "./supabase.ts";

export function App() {
  const [user, books, history] = [useTokenUser(), useTokenbook(), useTokenHistory({ limit: 5 })];
  const ask = useMutation({ mutationFn: () => books.deduct(150, { actionType: "chat_conversation" }) });
  if (!user)
    return (
      <form action={signIn} hidden={user === undefined}>
        <input name="email" type="email" aria-label="E-mail" />
        <input name="password" type="password" aria-label="Password" />
        <button>Sign in</button>
      </form>
    );
  return (
    <main>
      <TokenBalance className="total" />
      <TokenGrants className="grants" />
      <button onClick={() => ask.mutate()}>Ask the model, for 150 tokens</button>
      {ask.data?.success === false && <p role="alert">{ask.data.tokens_remaining_to_deduct} are missing.</p>}
      <ol className="history">
        {history.data?.map((entry) => (
          <li key={entry.id}>{`${entry.action_type}: ${entry.tokens}`}</li>
        ))}
      </ol>
      {history.hasNextPage && (
        <button disabled={history.isFetching} onClick={() => history.fetchNextPage()}>
          More
        </button>
      )}
    </main>
  );
}
