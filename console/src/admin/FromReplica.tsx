import { Text } from "@mantine/core";
import { useSession } from "../session.tsx";

/** On pages that ask a read replica: why they may lack what was just done, and who it is that does not answer. */
export function FromReplica() {
  const { reads } = useSession();
  if (reads === undefined) return null;
  return (
    <Text size="sm" c="dimmed">
      This page asks a read replica: what was done a moment ago may not be here yet.
    </Text>
  );
}
