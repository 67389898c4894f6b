/** What an admin's pages read. The keys begin as those of users do: what an admin changes, all of it is read again. */
import { keepPreviousData, useInfiniteQuery, useQuery, useQueryClient } from "@tanstack/react-query";
import { useMemo } from "react";
import { tokenKeys, useTokenbook } from "tokenbook/react";
import { tokenbookAdmin, type UsersOptions } from "tokenbook/admin";
import { useSession } from "../session.tsx";

export const keys = {
  all: [...tokenKeys.users, "admin"],
  of: (...what: readonly unknown[]) => [...keys.all, ...what],
};

/** The books as an admin asks them. */
export function useAdmin() {
  const { supabase } = useSession();
  return useMemo(() => tokenbookAdmin(supabase), [supabase]);
}

/** Users, a page after the other; while another order or search comes, the former is shown. */
export function useUsers({ search, sort, descending }: Pick<UsersOptions, "search" | "sort" | "descending">) {
  const admin = useAdmin();
  return useInfiniteQuery({
    queryKey: keys.of("users", { search, sort, descending }),
    queryFn: ({ signal, pageParam }) =>
      admin.users({ search, sort, descending, after: pageParam, limit: 50, signal }),
    initialPageParam: null as string | null,
    getNextPageParam: ({ next_after }) => next_after,
    placeholderData: keepPreviousData,
    select: ({ pages }) => pages.flatMap(({ users }) => users),
  });
}

/** One user; asked again while somebody looks, because others change them too. */
export function useUser(userId: string) {
  const admin = useAdmin();
  return useQuery({
    queryKey: keys.of("user", userId),
    queryFn: ({ signal }) => admin.user(userId, { signal }),
    refetchInterval: 15_000,
  });
}

/** Has everything read again: what the admin's own client changes, nobody else announces. */
export function useChanged(): () => void {
  const queryClient = useQueryClient();
  return () => void queryClient.invalidateQueries({ queryKey: tokenKeys.all });
}

/** Payments of everyone that wait, who asked first is first, in pages; and those that are parked. */
export function useWaitingPayments() {
  const admin = useAdmin();
  return useInfiniteQuery({
    queryKey: keys.of("payments", "waiting"),
    queryFn: ({ signal, pageParam }) =>
      admin.payments({ status: "pending", order: "oldest", after: pageParam, limit: 100, signal }),
    initialPageParam: null as string | null,
    getNextPageParam: ({ next_after }) => next_after,
    select: ({ pages }) => ({
      payments: pages.flatMap(({ payments }) => payments),
      parked: pages[0]?.parked ?? [],
    }),
    refetchInterval: 15_000,
  });
}

/** The newest payments of everyone. */
export function useLatePayments() {
  const admin = useAdmin();
  return useQuery({
    queryKey: keys.of("payments", "late"),
    queryFn: ({ signal }) => admin.payments({ limit: 30, signal }),
    refetchInterval: 15_000,
  });
}

/** What they paid and asked for, newest first: by the edge function `payments`. */
export function usePaymentsOf(userId: string) {
  const admin = useAdmin();
  return useQuery({
    queryKey: keys.of("payments", userId),
    queryFn: ({ signal }) => admin.payments({ userId, limit: 50, signal }),
  });
}

/** One user's books against their records. */
export function useReconciliation(userId: string) {
  const admin = useAdmin();
  return useQuery({
    queryKey: keys.of("reconciliation", userId),
    queryFn: ({ signal }) => admin.reconcile(userId, { signal }),
  });
}

/** What each of their grants would have, and has. */
export function useReplay(userId: string) {
  const admin = useAdmin();
  return useQuery({
    queryKey: keys.of("replay", userId),
    queryFn: ({ signal }) => admin.replay({ userId, signal }),
  });
}

/** What everybody used, by day and by model, with what it cost. */
export function useEveryonesUsage(from: string) {
  const books = useTokenbook();
  return useQuery({
    queryKey: keys.of("usage", from),
    queryFn: ({ signal }) => books.usageBy({ forEveryone: true, bucket: "day", by: "model", from, signal }),
  });
}

/** What was sold, and what became of it, by day. */
export function useRevenue(from: string) {
  const books = useTokenbook();
  return useQuery({
    queryKey: keys.of("revenue", from),
    queryFn: ({ signal }) => books.revenue({ from, bucket: "day", signal }),
  });
}
