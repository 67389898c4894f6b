import { Button, Progress, Stack, Text } from "@mantine/core";
import { IconRefresh } from "@tabler/icons-react";
import { format } from "../format.ts";
import { Refused } from "../parts/Refused.tsx";
import type { Sweep } from "./sweep.ts";

export function Again({ sweep }: { sweep: Sweep<unknown> }) {
  return (
    <Button
      size="xs"
      variant="default"
      leftSection={<IconRefresh size={14} aria-hidden />}
      disabled={!sweep.isDone && sweep.error === null}
      onClick={sweep.again}
    >
      Look again
    </Button>
  );
}

/** How far it has come. */
export function Going({ sweep }: { sweep: Sweep<unknown> }) {
  if (sweep.error !== null) return <Refused error={sweep.error} retry={sweep.again} />;
  if (sweep.isDone) return null;
  return (
    <Stack gap={4} mb="md">
      <Progress value={sweep.share * 100} size="sm" aria-label="Users looked at" color="var(--accent)" />
      <Text size="xs" c="dimmed">
        {format.percent(sweep.share)} of the users looked at
      </Text>
    </Stack>
  );
}
