import { Skeleton } from "@mantine/core";
import { Refused } from "./Refused.tsx";

interface WaitingProps {
  /** What was asked for and has not come. */
  of: { error: Error | null; refetch: () => unknown };
  height?: string;
}

/** In place of what has not come yet: its space, or why it does not come. */
export function Waiting({ of: { error, refetch }, height = "5rem" }: WaitingProps) {
  return error === null ? (
    <Skeleton height={height} />
  ) : (
    <Refused error={error} retry={() => void refetch()} />
  );
}
