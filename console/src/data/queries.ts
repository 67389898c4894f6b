/** What pages read beside the hooks of `tokenbook/react`. The keys begin as the hooks' do, so all of it is read again together. */
import { queryOptions, useQuery } from "@tanstack/react-query";
import { tokenKeys, useTokenbook, useTokenUser } from "tokenbook/react";
import type { Tokenbook } from "tokenbook";

function useOfUser<Result>(name: string, ask: (books: Tokenbook, signal: AbortSignal) => Promise<Result>) {
  const [books, userId] = [useTokenbook(), useTokenUser()];
  return useQuery(
    queryOptions({
      queryKey: [...tokenKeys.user(userId), name],
      queryFn: ({ signal }) => ask(books, signal),
      enabled: userId != null,
    }),
  );
}

/** The plan they are on, or were; null: never one. */
export const useSubscription = () =>
  useOfUser("subscription", (books, signal) => books.plans.current({ signal }));
/** What they were told, newest first. */
export const useAlerts = () =>
  useOfUser("alerts", (books, signal) => books.alerts.list({ limit: 20, signal }));
/** What they may spend in a day, a week, a month. */
export const useCaps = () => useOfUser("caps", (books, signal) => books.caps.list({ signal }));
/** Their payments, newest first. Nothing tells of a rejection: while one waits, it is asked again. */
export function usePayments() {
  const [books, userId] = [useTokenbook(), useTokenUser()];
  return useQuery({
    queryKey: [...tokenKeys.user(userId), "payments"],
    queryFn: ({ signal }) => books.payments.list({ limit: 50, signal }),
    enabled: userId != null,
    refetchInterval: ({ state }) => (state.data?.some(({ status }) => status === "pending") ? 15_000 : false),
    refetchOnWindowFocus: "always",
  });
}
/** Grants that begin later. */
export const useUpcoming = () => useOfUser("upcoming", (books, signal) => books.upcomingGrants({ signal }));
/** Why something was charged. */
export const useExplanation = (transactionId: number) =>
  useOfUser(`explain ${transactionId}`, (books, signal) => books.explain({ transactionId, signal }));

/** The plans of the catalogue, lowest first. */
export const planQuery = (books: Tokenbook) =>
  queryOptions({
    queryKey: [...tokenKeys.all, "plans"],
    queryFn: ({ signal }) => books.plans.list({ signal }),
    staleTime: 300_000,
  });
export const usePlans = () => useQuery(planQuery(useTokenbook()));
