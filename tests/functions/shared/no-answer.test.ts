/** What comes of a question that the data API does not answer, or not whole: with a client as our functions have it. */
import { createServer, type ServerResponse } from "node:http";
import { createConnection, type AddressInfo } from "node:net";
import { createClient } from "@supabase/supabase-js";
import { afterAll, beforeAll, expect, test } from "vitest";
import ws from "ws";
import { errors, type ErrorKind } from "../../../supabase/functions/_shared/errors.ts";
import { Refusal } from "../../../supabase/functions/_shared/problem.ts";
import { callSql, type Client, clientOptions } from "../../../supabase/functions/_shared/sql.ts";

/** What the API in the way does with a request. */
const ways: Record<string, (outgoing: ServerResponse) => void> = {
  "closes the connection": (outgoing) => void outgoing.destroy(),
  "breaks off in the middle of its answer": (outgoing) => {
    outgoing.writeHead(200, { "content-type": "application/json", "content-length": "1000" });
    outgoing.write('{"tokens_remaining":', () => outgoing.destroy());
  },
  "breaks off in the middle of an answer in pieces": (outgoing) => {
    outgoing.writeHead(200, { "content-type": "application/json" });
    outgoing.write('{"tokens_remaining":', () => outgoing.destroy());
  },
  "never answers": () => {},
  "never ends its answer": (outgoing) => {
    outgoing.writeHead(200, { "content-type": "application/json" });
    outgoing.write('{"tokens_remaining":');
  },
  "has a page of a gateway for an answer": (outgoing) => {
    outgoing.writeHead(504, { "content-type": "text/html" });
    outgoing.end("<html>Gateway Time-out</html>");
  },
  "is behind a proxy that does not reach it": (outgoing) => {
    outgoing.writeHead(522, { "content-type": "text/html" });
    outgoing.end("error code: 522");
  },
  "has not loaded its schema yet": (outgoing) => {
    outgoing.writeHead(503, { "content-type": "application/json" });
    outgoing.end('{"code":"PGRST002","details":null,"hint":null,"message":"Could not query the database"}');
  },
};

let way: (outgoing: ServerResponse) => void;
let asked = 0;
const server = createServer((incoming, outgoing) => {
  asked++;
  incoming.resume();
  way(outgoing);
});
beforeAll(() => new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening)));
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const client = (port = (server.address() as AddressInfo).port) =>
  createClient(`http://127.0.0.1:${port}`, "key", {
    global: clientOptions(300).global, // the version for Node 20 does not know the rest
    auth: { persistSession: false, autoRefreshToken: false },
    realtime: { transport: ws as never }, // Node 20 has no WebSocket
  }) as unknown as Client;

async function refusalOf(question: Promise<unknown>): Promise<{ refusal: Refusal; ms: number }> {
  const begin = performance.now();
  const refusal = await question.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(refusal).toBeInstanceOf(Refusal);
  return { refusal: refusal as Refusal, ms: performance.now() - begin };
}

test.each(Object.keys(ways))("an API that %s: 503, worth sending again, and asked once", async (name) => {
  way = ways[name]!;
  asked = 0;
  const { refusal, ms } = await refusalOf(callSql(client(), "adjust_tokens", {}));
  const kind: ErrorKind = errors[refusal.slug];
  expect([refusal.slug, kind.status, kind.retryable]).toEqual(["unavailable", 503, true]);
  expect(String(refusal.cause)).toContain("HTTP ");
  expect(asked).toBe(1);
  expect(ms).toBeLessThan(2_000);
});

test("nobody there: the same", async () => {
  const closed = createServer();
  await new Promise<void>((listening) => closed.listen(0, "127.0.0.1", listening));
  const { port } = closed.address() as AddressInfo;
  await new Promise((done) => closed.close(done));
  await expect(
    new Promise((_, reject) => createConnection(port, "127.0.0.1").once("error", reject)),
  ).rejects.toThrow("ECONNREFUSED");
  const { refusal } = await refusalOf(callSql(client(port), "adjust_tokens", {}));
  expect(refusal.slug).toBe("unavailable");
});
