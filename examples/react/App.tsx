import { useMutation } from "@tanstack/react-query";
import { TokenBalance, TokenGrants, useTokenbook, useTokenHistory, useTokenUser } from "tokenbook/react";
import { SignIn } from "./SignIn.tsx";

export function App() {
  const [user, books] = [useTokenUser(), useTokenbook()];
  const { data: entries, isFetching, hasNextPage, fetchNextPage } = useTokenHistory({ limit: 5 });
  const ask = useMutation({ mutationFn: () => books.deduct(150, { actionType: "chat_conversation" }) });
  if (!user) return <SignIn hidden={user === undefined} />;
  return (
    <main>
      <TokenBalance className="total" />
      <TokenGrants className="grants" />
      <button onClick={() => ask.mutate()}>Ask the model, for 150 tokens</button>
      {ask.data?.success === false && <p role="alert">{ask.data.tokens_remaining_to_deduct} are missing.</p>}
      <ol className="history">
        {entries?.map(({ id, action_type, tokens }) => (
          <li key={id}>{`${action_type}: ${tokens}`}</li>
        ))}
      </ol>
      <button disabled={!hasNextPage || isFetching} onClick={() => fetchNextPage()}>
        More
      </button>
    </main>
  );
}
