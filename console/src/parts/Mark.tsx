import { Badge } from "@mantine/core";
import type { ReactNode } from "react";

/** A word about something, beside its name. */
export function Mark({ color = "gray", children }: { color?: string; children: ReactNode }) {
  return (
    <Badge component="span" size="sm" variant="light" color={color} tt="none" c="var(--mantine-color-text)">
      {children}
    </Badge>
  );
}
