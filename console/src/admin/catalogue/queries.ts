/** What the page of the catalogue reads. */
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useTokenbook } from "tokenbook/react";
import { keys, useAdmin } from "../queries.ts";

const of = (...what: readonly unknown[]) => keys.of("catalogue", ...what);

/** All plans, those that cannot be bought included. */
export function useAllPlans() {
  const books = useTokenbook();
  return useQuery({ queryKey: of("plans"), queryFn: ({ signal }) => books.plans.list({ signal }) });
}

export function useAllPacks() {
  const books = useTokenbook();
  return useQuery({ queryKey: of("packs"), queryFn: ({ signal }) => books.packs.list({ signal }) });
}

/** So many rows of what is dated make a page. */
export const datedPage = 200;

/** The next page begins after the last name of the page before, which has then been read whole. */
const pagesOf = <Row>(nameOf: (row: Row) => string) => ({
  initialPageParam: undefined as string | undefined,
  getNextPageParam: (page: readonly Row[]) =>
    page.length < datedPage ? undefined : nameBefore(page, nameOf),
});

/** The last name whose rows are all in a page that is full: those of the very last may go on. */
export function nameBefore<Row>(page: readonly Row[], nameOf: (row: Row) => string): string {
  const last = nameOf(page.at(-1)!);
  const whole = page.findLast((row) => nameOf(row) !== last);
  return whole === undefined ? last : nameOf(whole);
}

/** What of the pages is to be shown: a name that is cut by the end of a page comes whole with the next. */
export function wholeOf<Row>(pages: readonly (readonly Row[])[], nameOf: (row: Row) => string): Row[] {
  return pages.flatMap((page) => {
    if (page.length < datedPage) return page;
    const [until, last] = [nameBefore(page, nameOf), nameOf(page.at(-1)!)];
    return until === last ? page : page.filter((row) => nameOf(row) !== last);
  });
}

/** What all pages have of one name, read anew. */
export async function rowsCalled<Row>(
  name: string,
  nameOf: (row: Row) => string,
  read: (page: { after: string | undefined; limit: number }) => Promise<readonly Row[]>,
): Promise<Row[]> {
  const found: Row[] = [];
  for (let after: string | undefined; ;) {
    const page = await read({ after, limit: datedPage });
    found.push(...page.filter((row) => nameOf(row) === name));
    if (page.length < datedPage) return found;
    after = nameBefore(page, nameOf);
  }
}

export function useModelRates() {
  const admin = useAdmin();
  const nameOf = (row: { model_pattern: string }) => row.model_pattern;
  return useInfiniteQuery({
    ...pagesOf(nameOf),
    queryKey: of("rates"),
    queryFn: ({ signal, pageParam }) => admin.modelRates({ after: pageParam, limit: datedPage, signal }),
    select: ({ pages }) => wholeOf(pages, nameOf),
  });
}

export function useModelPrices(search: string | undefined) {
  const admin = useAdmin();
  const nameOf = (row: { model: string }) => row.model;
  return useInfiniteQuery({
    ...pagesOf(nameOf),
    queryKey: of("prices", search),
    queryFn: ({ signal, pageParam }) =>
      admin.modelPrices({ search, after: pageParam, limit: datedPage, signal }),
    select: ({ pages }) => wholeOf(pages, nameOf),
  });
}

export function useActionCosts() {
  const admin = useAdmin();
  return useInfiniteQuery({
    queryKey: of("costs"),
    queryFn: ({ signal, pageParam }) => admin.actionCosts({ after: pageParam, limit: datedPage, signal }),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => (page.length < datedPage ? undefined : page.at(-1)?.action_type),
    select: ({ pages }) => pages.flat(),
  });
}

export function useCodes() {
  const admin = useAdmin();
  return useInfiniteQuery({
    queryKey: of("codes"),
    queryFn: ({ signal, pageParam }) => admin.codes({ before: pageParam, limit: 20, signal }),
    initialPageParam: undefined as number | undefined,
    getNextPageParam: ({ next_before }) => next_before ?? undefined,
    select: ({ pages }) => pages.flatMap(({ codes }) => codes),
    // somebody may redeem one
    refetchInterval: 15_000,
  });
}
