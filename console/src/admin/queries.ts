/** What an admin's pages read. The keys begin as those of users do: what an admin changes, all of it is read again. */
import {
  keepPreviousData,
  queryOptions,
  useInfiniteQuery,
  useQuery,
  useQueryClient,
} from "@tanstack/react-query";
import { useMemo } from "react";
import { type ParkedPayment, tokenbook } from "tokenbook";
import { tokenKeys } from "tokenbook/react";
import { type AdminBooks, tokenbookAdmin, type UsersOptions } from "tokenbook/admin";
import { useSession } from "../session.tsx";

export const keys = {
  all: [...tokenKeys.users, "admin"],
  of: (...what: readonly unknown[]) => [...keys.all, ...what],
};

/** So many parked payments are shown at once. */
const parkedPage = 100;

/** The books as an admin asks them; what goes through everybody, of a replica where there is one. */
export function useAdmin() {
  const { supabase, reads } = useSession();
  return useMemo(() => tokenbookAdmin(supabase, { reads }), [supabase, reads]);
}

/** The reports of everybody: of a replica where there is one. */
function useReports() {
  const { supabase, reads } = useSession();
  return useMemo(() => tokenbook(supabase, { reads }), [supabase, reads]);
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

const userQuery = (admin: AdminBooks, userId: string) =>
  queryOptions({
    queryKey: keys.of("user", userId),
    queryFn: ({ signal }) => admin.user(userId, { signal }),
  });

/** One user; polled while the page is open, because others change them too. */
export const useUser = (userId: string) =>
  useQuery({ ...userQuery(useAdmin(), userId), refetchInterval: 15_000 });

/** Who somebody is: who is read already is not asked for anew. */
export const useName = (userId: string) => useQuery({ ...userQuery(useAdmin(), userId), staleTime: 300_000 });

/** Has everything read again: no event announces what the admin's own client has changed. */
export function useChanged(): () => void {
  const queryClient = useQueryClient();
  return () => void queryClient.invalidateQueries({ queryKey: tokenKeys.all });
}

/** Everyone's payments that wait, oldest first, in pages. */
export function useWaitingPayments() {
  const admin = useAdmin();
  return useInfiniteQuery({
    queryKey: keys.of("payments", "waiting"),
    queryFn: ({ signal, pageParam }) =>
      admin.payments({ status: "pending", order: "oldest", after: pageParam, limit: 100, signal }),
    initialPageParam: null as string | null,
    getNextPageParam: ({ next_after }) => next_after,
    select: ({ pages }) => pages.flatMap(({ payments }) => payments),
    refetchInterval: 15_000,
  });
}

/** Payments that are parked, oldest first, in pages. */
export function useParkedPayments() {
  const admin = useAdmin();
  return useInfiniteQuery({
    queryKey: keys.of("payments", "parked"),
    // one more than is shown: whether there is another page
    queryFn: ({ signal, pageParam }) => admin.parked({ after: pageParam, limit: parkedPage + 1, signal }),
    initialPageParam: null as ParkedPayment | null,
    getNextPageParam: (page) => (page.length > parkedPage ? page[parkedPage - 1] : null),
    select: ({ pages }) => pages.flatMap((page) => page.slice(0, parkedPage)),
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

/** What they paid and asked for, newest first, in pages: by the edge function `payments`. */
export function usePaymentsOf(userId: string) {
  const admin = useAdmin();
  return useInfiniteQuery({
    queryKey: keys.of("payments", userId),
    queryFn: ({ signal, pageParam }) => admin.payments({ userId, after: pageParam, limit: 50, signal }),
    initialPageParam: null as string | null,
    getNextPageParam: ({ next_after }) => next_after,
    select: ({ pages }) => pages.flatMap(({ payments }) => payments),
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
  const books = useReports();
  return useQuery({
    queryKey: keys.of("usage", from),
    queryFn: ({ signal }) => books.usageBy({ forEveryone: true, bucket: "day", by: "model", from, signal }),
  });
}

/** What was sold, and what became of it, by day. */
export function useRevenue(from: string) {
  const books = useReports();
  return useQuery({
    queryKey: keys.of("revenue", from),
    queryFn: ({ signal }) => books.revenue({ from, bucket: "day", signal }),
  });
}
