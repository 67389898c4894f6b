import { Button, Center } from "@mantine/core";
import { Refused } from "./Refused.tsx";

interface MoreProps {
  /** A list that is read in pages. */
  of: {
    error: Error | null;
    hasNextPage: boolean;
    isFetchingNextPage: boolean;
    fetchNextPage: () => unknown;
  };
  children: string;
}

/** Below a list that goes on. */
export function More({ of: { error, hasNextPage, isFetchingNextPage, fetchNextPage }, children }: MoreProps) {
  const next = () => void fetchNextPage();
  return (
    <>
      {error !== null && <Refused error={error} retry={next} />}
      {hasNextPage && (
        <Center mt="md">
          <Button variant="default" size="xs" loading={isFetchingNextPage} onClick={next}>
            {children}
          </Button>
        </Center>
      )}
    </>
  );
}
