import { Skeleton, Text } from "@mantine/core";
import type { ReactNode } from "react";
import classes from "./Fact.module.css";

/** One of a list of facts, with its name above; nothing yet: its space. */
export function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div className={classes["fact"]}>
      <Text component="dt" size="xs" c="dimmed">
        {name}
      </Text>
      <Text component="dd" m={0} size="md" fw={500} className="number" mih="1.5rem">
        {children ?? <Skeleton height="1rem" width="6rem" mt={4} />}
      </Text>
    </div>
  );
}
