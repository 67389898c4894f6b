/** Something between a client and the API that is unwell, a request at a time. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/**
 * What becomes of a request: it never arrives, its answer never does, nobody answers, or somebody answers who stands
 * before the API.
 */
export type Trouble =
  | "lost"
  | "answer lost"
  | "hangs"
  | { status: number; headers?: Record<string, string>; body?: string };

/** Where a request has got to: it is here, it was answered, its caller has the answer. */
export type Step = "asked" | "answered" | "told";

export interface Proxy {
  url: string;
  /** What becomes of the next requests, in order; then all is well. */
  troubles: (Trouble | undefined)[];
  /** Paths that were asked for, and how many requests their callers gave up. */
  asked: string[];
  givenUp: number;
  close(): void;
}

/**
 * @param at hears each step of each request, keeps it there until it is done, and may say what becomes of it
 */
export async function startProxy(
  target: string,
  at: (step: Step, path: string, body: string) => Promise<Trouble | undefined> = async () => undefined,
): Promise<Proxy> {
  const server = createServer((incoming, outgoing) => {
    const parts: Buffer[] = [];
    incoming.on("data", (part: Buffer) => parts.push(part));
    incoming.on("end", async () => {
      const body = Buffer.concat(parts);
      const text = body.toString("utf8");
      const path = incoming.url!;
      proxy.asked.push(path);
      const trouble = proxy.troubles.shift() ?? (await at("asked", path, text));
      outgoing.on("close", () => {
        if (!outgoing.writableEnded && trouble === "hangs") proxy.givenUp++;
      });
      if (trouble === "lost") return void incoming.socket.destroy();
      if (trouble === "hangs") return;
      if (typeof trouble === "object") {
        outgoing.writeHead(trouble.status, { "content-type": "text/plain", ...trouble.headers });
        return void outgoing.end(trouble.body ?? "unwell");
      }
      const { host: _, connection: __, "content-length": ___, ...headers } = incoming.headers;
      const answer = await fetch(`${target}${incoming.url}`, {
        method: incoming.method!,
        headers: headers as Record<string, string>,
        ...(parts.length > 0 && { body }),
      }).catch(() => undefined);
      if (answer === undefined) return void incoming.socket.destroy(); // nobody is there
      const said = Buffer.from(await answer.arrayBuffer());
      if (((await at("answered", path, text)) ?? trouble) === "answer lost")
        return void incoming.socket.destroy();
      const {
        "content-encoding": ____,
        "transfer-encoding": _____,
        ...kept
      } = Object.fromEntries(answer.headers);
      outgoing.writeHead(answer.status, kept);
      outgoing.end(said, () => void at("told", path, text));
    });
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const proxy: Proxy = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    troubles: [],
    asked: [],
    givenUp: 0,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
  return proxy;
}
