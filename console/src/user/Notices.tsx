import { Alert } from "@mantine/core";
import { IconInfoCircle } from "@tabler/icons-react";
import { useTokenBalance } from "tokenbook/react";
import { useAlerts } from "../data/queries.ts";
import { format } from "../format.ts";

/** What of the balance wants attention now: frozen, empty, or below a threshold that the project watches. */
export function Notices() {
  const { data: balance } = useTokenBalance();
  const { data: alerts } = useAlerts();
  if (balance === undefined) return null;
  if (balance.state === "frozen") {
    return (
      <Notice title="Your account is frozen">
        Nothing can be spent until the people who run this app open it again.
      </Notice>
    );
  }
  if (balance.total_active === 0) {
    return <Notice title="You have no tokens left">Buy a pack or a plan to go on.</Notice>;
  }
  // the project says what is low: a crossing is an alert, and it holds while the balance is below its threshold
  const dropped = alerts?.find(({ kind }) => kind === "dropped");
  const threshold = Number(dropped?.payload["threshold_tokens"] ?? Number.NaN);
  if (balance.total_active < threshold) {
    return (
      <Notice title="You are low on tokens">
        {`Fewer than ${format.tokens(threshold)} are left. Buy a pack before they run out.`}
      </Notice>
    );
  }
  return null;
}

function Notice({ title, children }: { title: string; children: string }) {
  return (
    <Alert
      role="status"
      variant="light"
      color="orange"
      title={title}
      icon={<IconInfoCircle aria-hidden />}
      styles={{
        title: { color: "var(--mantine-color-text)" },
        message: { color: "var(--mantine-color-text)" },
      }}
    >
      {children}
    </Alert>
  );
}
