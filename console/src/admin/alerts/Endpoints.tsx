import { Table } from "@mantine/core";
import { useState } from "react";
import type { WebhookEndpoint } from "tokenbook";
import { format } from "../../format.ts";
import { Mark } from "../../parts/Mark.tsx";
import { Nothing } from "../../parts/Nothing.tsx";
import { Section } from "../../parts/Section.tsx";
import { Waiting } from "../../parts/Waiting.tsx";
import { Acts, Called, Elsewhere, Listing, Narrow, New } from "../Listing.tsx";
import { useAdmin } from "../queries.ts";
import { ReasonDialog } from "../ReasonDialog.tsx";
import { EndpointDialog } from "./EndpointDialog.tsx";
import { useEndpoints } from "./queries.ts";

/** Of an address what is no secret: a path may be one. */
export function originOf(url: string): string {
  const { origin, pathname, search } = new URL(url);
  return pathname === "/" && search === "" ? origin : `${origin}/…`;
}

const toldOf = ({ kinds }: WebhookEndpoint) =>
  kinds === null ? "Everything" : kinds.length === 1 ? "1 kind" : `${kinds.length} kinds`;

type Doing =
  | { what: "set"; endpoint: WebhookEndpoint | null }
  | { what: "remove" | "retry"; endpoint: WebhookEndpoint };

/** The endpoints that webhooks are sent to. */
export function Endpoints() {
  const admin = useAdmin();
  const endpoints = useEndpoints();
  const [doing, begin] = useState<Doing | null>(null);
  const close = () => begin(null);
  return (
    <Section
      title="Endpoints of webhooks"
      actions={<New onClick={() => begin({ what: "set", endpoint: null })}>New endpoint</New>}
    >
      {doing?.what === "set" && <EndpointDialog endpoint={doing.endpoint} close={close} />}
      {doing?.what === "remove" && (
        <ReasonDialog
          title="Remove the endpoint"
          verb="Remove"
          close={close}
          act={async () => {
            const { removed } = await admin.removeEndpoint(doing.endpoint.name);
            return removed ? "It is told of nothing any more." : "It had been removed already.";
          }}
        >
          {doing.endpoint.name}: what waits for it is not sent, unless one of this name is made again within
          three days.
        </ReasonDialog>
      )}
      {doing?.what === "retry" && (
        <ReasonDialog
          title="Send again what was given up"
          verb="Send again"
          isGrave={false}
          close={close}
          act={async () => {
            let sent = 0;
            for (;;) {
              const portion = await admin.retryDeliveries(doing.endpoint.name);
              if (portion === 0) break;
              sent += portion;
            }
            return sent === 0
              ? "Nothing was given up in the last three days."
              : `${format.tokens(sent)} wait to be sent again.`;
          }}
        >
          {doing.endpoint.name}: what was given up in the last three days, for when the receiver works again.
          Each has the webhook-id that it had.
        </ReasonDialog>
      )}
      {endpoints.data === undefined ? (
        <Waiting of={endpoints} height="6rem" />
      ) : endpoints.data.length === 0 ? (
        <Nothing title="Nobody is told by webhook">
          Make an endpoint, and your server learns of alerts, payments and plans as they happen.
        </Nothing>
      ) : (
        <Listing
          testId="endpoints"
          acts="To do"
          columns={[{ name: "Endpoint" }, { name: "Is told of", isWide: true }]}
        >
          {endpoints.data.map((endpoint) => (
            <Table.Tr key={endpoint.name}>
              <Called
                title={endpoint.name}
                marks={!endpoint.is_enabled && <Mark>Off</Mark>}
                under={
                  <>
                    {originOf(endpoint.url)}
                    <Narrow>, told of {toldOf(endpoint).toLowerCase()}</Narrow>, secret in{" "}
                    {endpoint.secret_setting}
                  </>
                }
              />
              <Table.Td visibleFrom="sm" title={endpoint.kinds?.join(", ")}>
                {toldOf(endpoint)}
              </Table.Td>
              <Acts
                of={`endpoint ${endpoint.name}`}
                acts={[
                  { verb: "Change", onClick: () => begin({ what: "set", endpoint }) },
                  { verb: "Send again what was given up", onClick: () => begin({ what: "retry", endpoint }) },
                  { verb: "Remove", isGrave: true, onClick: () => begin({ what: "remove", endpoint }) },
                ]}
              />
            </Table.Tr>
          ))}
        </Listing>
      )}
      <Elsewhere>Secrets are settings of the edge functions; no page reads them.</Elsewhere>
    </Section>
  );
}
