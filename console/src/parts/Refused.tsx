import { Alert, Button, Text } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import { NotFetched, reload } from "./part.ts";
import { wordsOf } from "./refusal.ts";

interface RefusedProps {
  error: unknown;
  /** Asks again. */
  retry?: (() => void) | undefined;
}

/** What the server refused, in its words. */
export function Refused({ error, retry }: RefusedProps) {
  const { title, detail, hint } = wordsOf(error);
  return (
    <Alert
      role="alert"
      variant="default"
      icon={<IconAlertTriangle aria-hidden color="var(--mantine-color-error)" />}
      title={title}
    >
      {detail !== "" && (
        <Text size="sm" className="words">
          {detail}
        </Text>
      )}
      {hint !== "" && <Text size="sm">{hint}</Text>}
      {error instanceof NotFetched ? (
        <Button size="xs" variant="default" mt="xs" onClick={reload}>
          Reload the page
        </Button>
      ) : (
        retry !== undefined && (
          <Button size="xs" variant="default" mt="xs" onClick={retry}>
            Try again
          </Button>
        )
      )}
    </Alert>
  );
}
