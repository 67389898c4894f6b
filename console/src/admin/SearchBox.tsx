import { TextInput, type TextInputProps } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { IconSearch } from "@tabler/icons-react";
import { useState } from "react";
import { longestSearch } from "./search.ts";

interface SearchBoxProps extends Pick<TextInputProps, "w" | "placeholder"> {
  label: string;
  /** What is searched for. */
  value: string | undefined;
  search: (text: string | undefined) => void;
}

/** Searches while somebody types; and says what is searched for when something else has changed that: a link, the way back. */
export function SearchBox({ label, value, search, ...box }: SearchBoxProps) {
  const [typed, type] = useState(value ?? "");
  // what this box has asked for last: an answer to it is no news, and must not take away what was typed since
  const [own, ask] = useState(value);
  const [seen, see] = useState(value);
  const later = useDebouncedCallback((text: string) => {
    const next = text.trim() || undefined;
    ask(next);
    search(next);
  }, 250);
  if (value !== seen) {
    see(value);
    if (value !== own) {
      ask(value);
      type(value ?? "");
      later.cancel();
    }
  }
  return (
    <TextInput
      size="xs"
      type="search"
      aria-label={label}
      leftSection={<IconSearch size={14} aria-hidden />}
      maxLength={longestSearch}
      {...box}
      value={typed}
      onChange={({ currentTarget }) => {
        type(currentTarget.value);
        later(currentTarget.value);
      }}
    />
  );
}
