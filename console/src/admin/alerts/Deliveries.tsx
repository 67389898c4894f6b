import { SegmentedControl, Table } from "@mantine/core";
import { useState } from "react";
import type { WebhookDelivery } from "tokenbook";
import { format, humanized } from "../../format.ts";
import { More } from "../../parts/More.tsx";
import { Nothing } from "../../parts/Nothing.tsx";
import { Section } from "../../parts/Section.tsx";
import { Waiting } from "../../parts/Waiting.tsx";
import { Act, Called, Listing } from "../Listing.tsx";
import { useAdmin } from "../queries.ts";
import { ReasonDialog } from "../ReasonDialog.tsx";
import { useAdminSearch } from "../search.ts";
import { UserLink } from "../UserLink.tsx";
import { useDeliveries } from "./queries.ts";

const statuses = { pending: "Waits", delivered: "Delivered", given_up: "Given up" };

/** `token_alert.dropped` as people read it. */
const saidOf = (kind: string) => humanized(kind.replace(/^token_/, "").replace(".", " "));

function standingOf({ status, attempts, next_attempt_at, last_error, settled_at }: WebhookDelivery): string {
  const tries = attempts === 1 ? "once" : `${attempts} times`;
  if (status === "delivered") return `delivered ${format.brief(settled_at!)}`;
  if (status === "given_up") return `tried ${tries}: ${last_error ?? "no answer"}`;
  const isDue = Date.parse(next_attempt_at!) <= Date.now();
  const next = isDue ? "due now" : `next try ${format.until(next_attempt_at!)}`;
  return attempts === 0 || last_error === null ? next : `tried ${tries}: ${last_error}, ${next}`;
}

/** What was sent, and what became of it. */
export function Deliveries() {
  const admin = useAdmin();
  const [{ status }, change] = useAdminSearch();
  const deliveries = useDeliveries(status);
  const [repeated, repeat] = useState<WebhookDelivery | null>(null);
  return (
    <Section
      title="Deliveries"
      actions={
        <SegmentedControl
          size="xs"
          aria-label="Which deliveries"
          value={status ?? "all"}
          data={[
            { value: "all", label: "All" },
            ...Object.entries(statuses).map(([value, label]) => ({ value, label })),
          ]}
          onChange={(value) => change({ status: value })}
        />
      }
    >
      {repeated !== null && (
        <ReasonDialog
          title="Send the delivery again"
          verb="Send again"
          isGrave={false}
          close={() => repeat(null)}
          act={async () => {
            await admin.repeatDelivery(repeated.id);
            return "It is sent as soon as deliveries go out.";
          }}
        >
          {saidOf(repeated.kind)}, to {repeated.endpoint}. It has the webhook-id that it had, so a receiver
          that keeps those does nothing twice.
        </ReasonDialog>
      )}
      {deliveries.data === undefined ? (
        <Waiting of={deliveries} height="12rem" />
      ) : deliveries.data.length === 0 ? (
        status === undefined ? (
          <Nothing title="Nothing was sent in the last 30 days">
            Once there is an endpoint, each thing that it is told of is listed here.
          </Nothing>
        ) : (
          <Nothing title="None of these">Choose “All” to see every delivery.</Nothing>
        )
      ) : (
        <>
          <Listing
            testId="deliveries"
            acts="Send again"
            columns={[
              { name: "What" },
              { name: "About", isWide: true },
              { name: "When", isWide: true },
              { name: "Status" },
            ]}
          >
            {deliveries.data.map((delivery) => (
              <Table.Tr key={delivery.id} data-status={delivery.status}>
                <Called
                  title={saidOf(delivery.kind)}
                  under={`to ${delivery.endpoint}, ${standingOf(delivery)}`}
                />
                <Table.Td visibleFrom="sm">
                  <UserLink userId={delivery.user_id} />
                </Table.Td>
                <Table.Td visibleFrom="sm" c="dimmed">
                  {format.brief(delivery.created_at)}
                </Table.Td>
                <Table.Td>{statuses[delivery.status]}</Table.Td>
                <Act of={`delivery ${delivery.id}`} verb="Send again" onClick={() => repeat(delivery)} />
              </Table.Tr>
            ))}
          </Listing>
          <More of={deliveries}>More deliveries</More>
        </>
      )}
    </Section>
  );
}
