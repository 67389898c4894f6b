/** What the page of alerts reads. */
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { keys, useAdmin } from "../queries.ts";
import type { DeliveryStatus } from "../search.ts";

const of = (...what: readonly unknown[]) => keys.of("alerts", ...what);

/** Rules for everyone and for plans: of users, row level security shows an admin their own alone. */
export function useCommonRules() {
  const admin = useAdmin();
  return useQuery({
    queryKey: of("rules"),
    queryFn: ({ signal }) => admin.alertRules({ limit: 1000, signal }),
    select: (rules) => rules.filter(({ user_id }) => user_id === null),
  });
}

export function useEndpoints() {
  const admin = useAdmin();
  return useQuery({ queryKey: of("endpoints"), queryFn: ({ signal }) => admin.endpoints({ signal }) });
}

/** Deliveries, newest first, a page after the other. */
export function useDeliveries(status: DeliveryStatus | undefined) {
  const admin = useAdmin();
  return useInfiniteQuery({
    queryKey: of("deliveries", status),
    queryFn: ({ signal, pageParam }) => admin.deliveries({ status, before: pageParam, limit: 25, signal }),
    initialPageParam: undefined as number | undefined,
    getNextPageParam: ({ next_before }) => next_before ?? undefined,
    select: ({ pages }) => pages.flatMap(({ deliveries }) => deliveries),
    refetchInterval: 15_000,
  });
}
