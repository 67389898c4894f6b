/** What the address of the user's page says: `/?show=spent&days=7`. Whatever else it says is left out. */
import { useNavigate, useSearch } from "@tanstack/react-router";
import type { Kind } from "./fold.ts";

export interface UserSearch {
  /** Which lines of the ledger; left out: all. */
  show?: Exclude<Kind, "other">;
  /** How many days of usage; left out: 30. */
  days?: 7 | 90;
}

export function readUserSearch(search: Record<string, unknown>): UserSearch {
  const { show, days } = search;
  return {
    ...(show === "spent" || show === "added" || show === "held" || show === "lost" ? { show } : {}),
    ...(days === 7 || days === 90 ? { days } : {}),
  };
}

/** What it says now, and a change of it; what is undefined is left out of the address. */
export function useUserSearch(): [UserSearch, (change: Partial<Record<keyof UserSearch, unknown>>) => void] {
  const search = readUserSearch(useSearch({ strict: false }));
  const navigate = useNavigate();
  const change = (to: Partial<Record<keyof UserSearch, unknown>>) =>
    void navigate({
      to: ".",
      search: (now: Record<string, unknown>) => ({
        ...now,
        show: undefined,
        days: undefined,
        ...readUserSearch({ ...search, ...to }),
      }),
      replace: true,
      resetScroll: false,
    });
  return [search, change];
}
