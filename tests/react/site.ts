/** A site of one origin: built pages, and behind `/rest`, `/auth`, `/functions` and `/realtime` the API. */
import { createReadStream, existsSync } from "node:fs";
import { createServer, request, type Server } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { extname, join } from "node:path";

export interface Site {
  /** `http://127.0.0.1:<port>` */
  url: string;
  server: Server;
  /** Where the pages are, and the API. */
  folder: string;
  api: string;
  /** Pages that are made when they are asked for. */
  rendered: Map<string, () => Promise<string>>;
  /** Paths of the API that were asked for. */
  asked: string[];
  /** What becomes of WebSockets from now on: they reach the API, are refused, or open and say nothing. */
  sockets: "open" | "refused" | "silent";
  /** Breaks those that are open. */
  dropSockets(): void;
  close(): Promise<void>;
}

const types: Record<string, string> = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css" };

export async function startSite(): Promise<Site> {
  const server = createServer((asked, answer) => {
    const path = new URL(asked.url!, site.url).pathname;
    if (/^\/(rest|auth|functions)\//.test(path)) {
      site.asked.push(path);
      const { method, headers } = asked;
      const forwarded = request(new URL(asked.url!, site.api), { method: method!, headers }, (from) => {
        answer.writeHead(from.statusCode!, from.headers);
        from.pipe(answer);
      });
      forwarded.on("error", () => answer.destroy());
      asked.pipe(forwarded);
      return;
    }
    const rendered = site.rendered.get(path);
    if (rendered !== undefined) {
      rendered().then(
        (html) => answer.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(html),
        (error: Error) => answer.writeHead(500).end(error.stack),
      );
      return;
    }
    const file = join(site.folder, path.endsWith("/") ? `${path}index.html` : path);
    if (!existsSync(file)) return void answer.writeHead(404).end();
    answer.writeHead(200, { "content-type": `${types[extname(file)] ?? "text/plain"}; charset=utf-8` });
    createReadStream(file).pipe(answer);
  });
  const tunnels = new Set<Socket>();
  server.on("upgrade", (asked, from: Socket, head) => {
    if (site.sockets === "refused") return void from.end("HTTP/1.1 503 Service Unavailable\r\n\r\n");
    const { hostname, port } = new URL(site.api);
    const to = connect(Number(port), hostname);
    const headers = Object.entries(asked.headers).map(([name, value]) => `${name}: ${String(value)}`);
    to.write([`${asked.method} ${asked.url} HTTP/1.1`, ...headers, "", ""].join("\r\n"));
    to.write(head);
    from.pipe(to);
    if (site.sockets === "open") to.pipe(from);
    else to.once("data", (handshake) => from.write(handshake)).resume();
    tunnels.add(from);
    for (const end of [from, to]) {
      end.on("error", () => {});
      end.on("close", () => {
        tunnels.delete(from);
        from.destroy();
        to.destroy();
      });
    }
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const site: Site = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    server,
    folder: "",
    api: "",
    rendered: new Map(),
    asked: [],
    sockets: "open",
    dropSockets: () => tunnels.forEach((one) => one.destroy()),
    close: () =>
      new Promise((done) => {
        site.dropSockets();
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
  return site;
}
