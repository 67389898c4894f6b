/** The console's files, and which project they are for. They are the same for any project, and for any static host. */
import { existsSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import sirv from "sirv";

/** What the page reads as `/config.json`. */
export interface ConsoleConfig {
  /** The address of the project's API. */
  url: string;
  /** Its publishable key. */
  key: string;
  /** The address of a read replica's API, or of the load balancer in front of it. */
  reads?: string | undefined;
}

export interface ServedConsole {
  /** `http://127.0.0.1:<port>` */
  url: string;
  close(): Promise<void>;
}

/** Where the built files are: beside the program in the package, else where the repository builds them. */
export function consoleFolder(): string {
  const packed = fileURLToPath(new URL("./console/", import.meta.url));
  return existsSync(join(packed, "index.html"))
    ? packed
    : fileURLToPath(new URL("../../../../console/dist/", import.meta.url));
}

/**
 * Serves it to this machine, until it is closed.
 *
 * @param port 0: any that is free
 */
export async function serveConsole(
  { url, key, reads }: ConsoleConfig,
  port: number,
  folder = consoleFolder(),
): Promise<ServedConsole> {
  const setHeaders = (answer: ServerResponse, path: string) => {
    answer.setHeader("cache-control", isAsset(path) ? "public, max-age=31536000, immutable" : "no-cache");
    for (const [name, value] of headersFor(url, reads)) answer.setHeader(name, value);
  };
  const assets = sirv(folder, { setHeaders });
  // any other path is a page's, which the page itself finds, whatever is in it
  const files = sirv(folder, { single: true, ignores: false, setHeaders });
  const config = JSON.stringify({ url, key, reads });
  const server = createServer((asked, answer) => {
    const path = asked.url?.split("?")[0] ?? "/";
    if (path === "/config.json") {
      answer.writeHead(200, { "content-type": "application/json", "cache-control": "no-store" }).end(config);
      return;
    }
    (isAsset(path) ? assets : files)(asked, answer, () => {
      answer.writeHead(404, { "cache-control": "no-store" }).end();
    });
  });
  await new Promise<void>((done, failed) => {
    server.once("error", failed);
    server.listen(port, "127.0.0.1", done);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
}

/** A file whose name changes with what is in it. */
const isAsset = (path: string) => path.startsWith("/assets/");

/**
 * What a browser may do with the page: its own files, and the project's API. The guide says the same to who deploys it.
 *
 * @param apis  the API's origin, the same with ws: or wss:, and that of a replica's API where there is one
 */
export const policyFor = (...apis: string[]): string =>
  [
    "default-src 'self'",
    `connect-src 'self' ${apis.join(" ")}`,
    "img-src 'self' data:",
    "style-src 'self' 'unsafe-inline'", // Mantine writes the theme's variables into the page
    "frame-ancestors 'none'",
    "base-uri 'none'",
    "form-action 'self'",
  ].join("; ");

function headersFor(url: string, reads?: string): [string, string][] {
  const { origin, host, protocol } = new URL(url);
  const socket = `${protocol === "https:" ? "wss" : "ws"}://${host}`;
  return [
    [
      "content-security-policy",
      policyFor(origin, socket, ...(reads === undefined ? [] : [new URL(reads).origin])),
    ],
    ["referrer-policy", "no-referrer"],
    ["x-content-type-options", "nosniff"],
  ];
}
