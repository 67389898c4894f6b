/** Somebody who is told by webhook: a server that checks signatures as the standard says, and may be unwell. */
import { createHmac } from "node:crypto";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { Webhook } from "standardwebhooks";
import { verifyTokenWebhook } from "../../../packages/tokenbook/src/client/index.ts";
import { call } from "../../alerts/alerts.ts";
import type { Database } from "../../support/database.ts";

export const secret = `whsec_${Buffer.from("thirty-two bytes of a test secret").toString("base64")}`;
export const formerSecret = `whsec_${Buffer.from("the secret that was there before it").toString("base64")}`;

/** One delivery that was accepted or not. */
export interface Delivery {
  id: string;
  headers: IncomingHttpHeaders;
  body: string;
  // oxlint-disable-next-line typescript/no-explicit-any
  event: any;
}

export interface Receiver {
  url: string;
  /** Each delivery so far. */
  deliveries: Delivery[];
  /** What it answers next; a function of the delivery and how many there were of that id. `stall`: nothing. */
  behave: (delivery: Delivery, nth: number) => number | "stall" | "hang up";
  /** How long it thinks about each. */
  delayMs: number;
  close(): Promise<void>;
}

/** Starts it, well. */
export async function startReceiver(): Promise<Receiver> {
  const server = createServer(async (incoming, outgoing) => {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString("utf8");
    const id = String(incoming.headers["webhook-id"]);
    const delivery = { id, headers: incoming.headers, body, event: JSON.parse(body) };
    receiver.deliveries.push(delivery);
    const answer = receiver.behave(delivery, receiver.deliveries.filter((it) => it.id === id).length);
    if (receiver.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, receiver.delayMs));
    if (answer === "stall") return;
    if (answer === "hang up") return void incoming.socket.destroy();
    outgoing.writeHead(answer, answer >= 300 && answer < 400 ? { location: "/elsewhere" } : {});
    outgoing.end("ignored");
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const receiver: Receiver = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/tokens?from=tests`,
    deliveries: [],
    behave: () => 200,
    delayMs: 0,
    async close() {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
  return receiver;
}

/** The signature that there must be, from the standard's words. */
export function signatureOf({ id, headers, body }: Delivery, by = secret): string {
  const key = Buffer.from(by.slice("whsec_".length), "base64");
  const signed = `${id}.${headers["webhook-timestamp"]}.${body}`;
  return `v1,${createHmac("sha256", key).update(signed).digest("base64")}`;
}

/** Fails unless the library that receivers use takes it for ours, and `verifyTokenWebhook` too. */
export async function verify({ headers, body }: Delivery, by = secret): Promise<void> {
  new Webhook(by).verify(body, headers as Record<string, string>);
  await verifyTokenWebhook(body, headers as Record<string, string>, by);
}

/** Makes an endpoint, as the server. */
export const setEndpoint = (
  db: Database,
  name: string,
  url: string,
  more: { kinds?: string[]; is_enabled?: boolean } = {},
) =>
  call(db, "set_token_webhook_endpoint", {
    p_name: name,
    p_url: url,
    ...(more.kinds && { p_kinds: more.kinds }),
    ...(more.is_enabled !== undefined && { p_is_enabled: more.is_enabled }),
  });
