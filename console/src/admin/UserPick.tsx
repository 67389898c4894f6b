import { Select } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { longestSearch } from "./search.ts";
import { shown } from "../parts/Theirs.tsx";
import { keys, useAdmin } from "./queries.ts";

interface UserPickProps {
  value: string | null;
  change: (userId: string | null) => void;
}

/** Chooses a user by a part of their address, or by their id: found by the database. */
export function UserPick({ value, change }: UserPickProps) {
  const admin = useAdmin();
  const [typed, type] = useState("");
  const [search] = useDebouncedValue(typed.trim(), 250);
  const { data, isFetching } = useQuery({
    queryKey: keys.of("pick", search),
    queryFn: ({ signal }) => admin.users({ search, sort: "email", descending: false, limit: 8, signal }),
    enabled: search !== "",
  });
  const found = (data?.users ?? []).map(({ user_id, email }) => ({
    value: user_id,
    label: shown(email ?? user_id),
  }));
  return (
    <Select
      label="User"
      description="A part of their address, or their id."
      placeholder="Type to search"
      searchable
      maxLength={longestSearch}
      data-autofocus
      comboboxProps={{ withinPortal: false }}
      data={found}
      // the database has searched
      filter={({ options }) => options}
      nothingFoundMessage={search === "" || isFetching ? null : "Nobody is found"}
      searchValue={typed}
      onSearchChange={type}
      value={value}
      onChange={change}
    />
  );
}
