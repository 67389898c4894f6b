/** What the address of an admin's page says: `/admin/?q=example.com&sort=balance`. Whatever else it says is left out. */
import { useNavigate, useSearch } from "@tanstack/react-router";
import type { UserSearch } from "../user/search.ts";

export const sorts = ["email", "balance", "used", "last_active"] as const;
export type Sort = (typeof sorts)[number];

export const deliveryStatuses = ["pending", "delivered", "given_up"] as const;
export type DeliveryStatus = (typeof deliveryStatuses)[number];

/** The longest address there is, and the most that the database searches for. */
export const longestSearch = 320;

export interface AdminSearch extends UserSearch {
  /** Whom the list is searched for. */
  q?: string;
  /** Left out: who was active last is first. */
  sort?: Sort;
  /** The other way round than that column begins with. */
  turned?: true;
  /** Which deliveries of webhooks; left out: all. */
  status?: DeliveryStatus;
}

type Own = "q" | "sort" | "turned" | "status";

function readAdminSearch(search: Record<string, unknown>): Pick<AdminSearch, Own> {
  const { q, sort, turned, status } = search;
  const isSort = (it: unknown): it is Sort => sorts.some((one) => one === it);
  const isStatus = (it: unknown): it is DeliveryStatus => deliveryStatuses.some((one) => one === it);
  return {
    ...(isSearch(q) ? { q: Array.from(String(q)).slice(0, longestSearch).join("") } : {}),
    ...(isSort(sort) && sort !== "last_active" ? { sort } : {}),
    ...(turned === true ? { turned } : {}),
    ...(isStatus(status) ? { status } : {}),
  };
}

/** Words that the database can search for: a number in an address is read as one, and nobody's address has a NUL. */
const isSearch = (it: unknown): boolean =>
  typeof it === "number" || (typeof it === "string" && it.trim() !== "" && !it.includes("\0"));

type Change = Partial<Record<Own, unknown>>;

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
