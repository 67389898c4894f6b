/** What the address of an admin's page says: `/admin/?q=example.com&sort=balance`. Whatever else it says is left out. */
import { useNavigate, useSearch } from "@tanstack/react-router";
import type { UserSearch } from "../user/search.ts";

export const sorts = ["email", "balance", "used", "last_active"] as const;
export type Sort = (typeof sorts)[number];

export interface AdminSearch extends UserSearch {
  /** Whom the list is searched for. */
  q?: string;
  /** Left out: who was active last is first. */
  sort?: Sort;
  /** The other way round than that column begins with. */
  turned?: true;
}

function readAdminSearch(search: Record<string, unknown>): Pick<AdminSearch, "q" | "sort" | "turned"> {
  const { q, sort, turned } = search;
  const isSort = (it: unknown): it is Sort => sorts.some((one) => one === it);
  return {
    // a number in an address is read as one
    ...(typeof q === "string" || typeof q === "number" ? { q: String(q) } : {}),
    ...(isSort(sort) && sort !== "last_active" ? { sort } : {}),
    ...(turned === true ? { turned } : {}),
  };
}

type Change = Partial<Record<"q" | "sort" | "turned", unknown>>;

export function useAdminSearch(): [ReturnType<typeof readAdminSearch>, (change: Change) => void] {
  const search = readAdminSearch(useSearch({ strict: false }));
  const navigate = useNavigate();
  const change = (to: Change) =>
    void navigate({
      to: ".",
      search: readAdminSearch({ ...search, ...to }),
      replace: true,
      resetScroll: false,
    });
  return [search, change];
}
