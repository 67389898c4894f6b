import { Stack, Text } from "@mantine/core";
import type { ReactNode } from "react";

/** Where there is nothing to show: why, and what to do. */
export function Nothing({ title, children }: { title: ReactNode; children?: ReactNode }) {
  return (
    <Stack align="center" justify="center" gap={4} py="lg" ta="center">
      <Text size="sm" fw={600}>
        {title}
      </Text>
      {children !== undefined && (
        <Text size="sm" c="dimmed" maw="26rem">
          {children}
        </Text>
      )}
    </Stack>
  );
}
