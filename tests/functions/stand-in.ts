/** A server on this machine that stands in for somebody else's API. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

export interface StandIn {
  /** `http://127.0.0.1:<port>` */
  url: string;
  /** Each request so far, as `GET /path`. */
  requests: string[];
  close(): Promise<void>;
}

export interface Asked {
  method: string;
  /** Without the query. */
  path: string;
  query: URLSearchParams;
  headers: Record<string, string | string[] | undefined>;
  /** As it was sent. */
  body: string;
}

/** Starts it. `answer` gives a status and what is sent as JSON. */
export async function startStandIn(
  answer: (asked: Asked) => { status?: number; body: unknown },
): Promise<StandIn> {
  const requests: string[] = [];
  const server = createServer(async (incoming, outgoing) => {
    const { pathname: path, searchParams: query } = new URL(incoming.url!, "http://stand-in");
    const method = incoming.method!;
    requests.push(`${method} ${path}`);
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString("utf8");
    const { status = 200, body: answered } = answer({
      method,
      path,
      query,
      headers: incoming.headers,
      body,
    });
    outgoing.writeHead(status, { "content-type": "application/json" });
    outgoing.end(JSON.stringify(answered));
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    async close() {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
}
