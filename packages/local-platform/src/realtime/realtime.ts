import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { WebSocketServer } from "ws";
import { requireApiKey } from "../gateway/caller.ts";
import { Refusal } from "../gateway/http.ts";
import type { Keys } from "../gateway/keys.ts";
import type { Tokens } from "../gateway/tokens.ts";
import { openApiDatabase } from "../rest/database.ts";
import type { ApiDatabase } from "../rest/database.ts";
import { serveSocket } from "./channels.ts";
import type { Channel } from "./channels.ts";
import { deliver } from "./delivery.ts";
import type { Subscription } from "./delivery.ts";
import { AskedWrongly, readAsked } from "./filters.ts";
import type { Asked } from "./filters.ts";
import type { Serializer } from "./frames.ts";
import { openReplication } from "./replication.ts";
import type { Change } from "./replication.ts";
import { untilRead } from "./slow-clients.ts";
import { refusalOf, untilSeen } from "./tables.ts";

export interface RealtimeOptions {
  /** Connection string of a role of the project's database. */
  databaseUrlFor: (role: string) => string;
  /** The API's connections, as `authenticator`. */
  database: ApiDatabase;
  keys: Keys;
  tokens: Tokens;
}

/** Answers /realtime/v1. */
export interface Realtime {
  /** Answers a request to become a WebSocket. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Ends all sockets; nothing of it is left in the database. */
  close(): Promise<void>;
}

/** What a client may say at once, in bytes. */
const LARGEST_FRAME = 1024 * 1024;

/** So many changes are checked together, or so many characters of them. */
const TOGETHER = 500;
const TOGETHER_SIZE = 4 * 1024 * 1024;

/** How long the log is still read after the last listener has left: a page may be reloading. */
const LINGER_MS = 5_000;

/** When the database could not be asked whether a channel may listen, it is asked again. */
const RETRY_MS = 2_000;

/** Serves `postgres_changes` of the publication `supabase_realtime` to supabase-js. */
export function startRealtime({ databaseUrlFor, database, keys, tokens }: RealtimeOptions): Realtime {
  const own = openApiDatabase(databaseUrlFor("postgres"), 4);
  const sockets = new WebSocketServer({ noServer: true, maxPayload: LARGEST_FRAME });
  const subscriptions = new Map<Channel, Subscription[]>();
  let lingering: NodeJS.Timeout | undefined;

  const queue = createQueue(async (changes) => {
    await untilSeen(
      own,
      changes.map(({ transaction }) => transaction),
    ).catch(() => {});
    await deliver({ own, api: database }, changes, [...subscriptions.values()].flat());
    await untilRead(sockets.clients);
  });
  const replication = openReplication({
    url: databaseUrlFor("postgres"),
    onChange: queue.add,
    onLive: () => subscriptions.forEach((_, channel) => welcome(channel)),
    onLost: () => {
      const words = "Realtime was unable to connect to the project database";
      subscriptions.forEach((_, channel) => channel.system("postgres_changes", "error", words));
    },
    hasSlot: async (name) => {
      const text = "select from pg_catalog.pg_replication_slots where slot_name = $1";
      return (await own.run([["search_path", ""]], { text, values: [name] }, true)).length > 0;
    },
  });

  function welcome(channel: Channel) {
    channel.system("postgres_changes", "ok", "Subscribed to PostgreSQL");
  }

  /** Lets a channel listen, if its caller may. The join was answered already, as on hosted projects. */
  async function subscribe(channel: Channel): Promise<void> {
    const { caller } = channel;
    let asked: Asked[];
    try {
      asked = channel.asked.map(({ params }) => readAsked(params));
      const refusals = await Promise.all(asked.map((one) => refusalOf(own, caller.role, one)));
      const refusal = refusals.find((one) => one !== undefined);
      if (refusal !== undefined) throw new AskedWrongly(refusal);
    } catch (error) {
      subscriptions.delete(channel);
      const isWrong = error instanceof AskedWrongly;
      if (!isWrong) console.error(`realtime: a channel could not be checked: ${(error as Error).name}`);
      if (!isWrong) setTimeout(() => channel.isOpen && void subscribe(channel), RETRY_MS).unref();
      const words = isWrong ? error.message : "Realtime was unable to connect to the project database";
      return channel.system("postgres_changes", "error", words);
    }
    if (!channel.isOpen) return;
    const ofIt = asked.map((one, n) => ({ id: channel.asked[n]!.id, asked: one, channel }));
    subscriptions.set(channel, ofIt);
    clearTimeout(lingering);
    replication.start();
    if (replication.isLive) welcome(channel);
  }

  function leave(channel: Channel) {
    if (!subscriptions.delete(channel) || subscriptions.size > 0) return;
    clearTimeout(lingering);
    lingering = setTimeout(() => void replication.stop(), LINGER_MS);
    lingering.unref();
  }

  return {
    upgrade(request, socket, head) {
      const url = new URL(request.url ?? "/", "http://localhost");
      try {
        if (url.pathname !== "/realtime/v1/websocket") throw new Refusal(new Response(null, { status: 404 }));
        const headers = { "user-agent": request.headers["user-agent"] ?? "", ...apiKeyIn(request) };
        const role = requireApiKey(new Request(url, { headers }), keys);
        const serializer = serializerIn(url);
        sockets.handleUpgrade(request, socket, head, (client) => {
          serveSocket(client, serializer, { role, claims: { role } }, tokens, {
            onCaller: (channel) => void subscribe(channel),
            onClose: leave,
          });
        });
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        void refuse(socket, error.response);
      }
    },
    async close() {
      clearTimeout(lingering);
      for (const client of sockets.clients) client.terminate();
      sockets.close();
      queue.close();
      await replication.stop();
      await own.close();
    },
  };
}

/** Supabase's gateway takes the key from the query, and from a header where a client can set one. */
function apiKeyIn({ headers }: IncomingMessage): Record<string, string> {
  const key = headers["apikey"];
  return typeof key === "string" ? { apikey: key } : {};
}

/** Clients before 2026 say 1.0.0, and nothing means that too. */
function serializerIn(url: URL): Serializer {
  const asked = url.searchParams.get("vsn") ?? "1.0.0";
  if (asked === "1.0.0" || asked === "2.0.0") return asked;
  throw new Refusal(new Response(`The serializer ${asked} is not known`, { status: 400 }));
}

async function refuse(socket: Duplex, response: Response): Promise<void> {
  const body = await response.text();
  const head = [
    `HTTP/1.1 ${response.status} Refused`,
    "Connection: close",
    `Content-Type: ${response.headers.get("content-type") ?? "text/plain"}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
  ];
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`);
}

interface Queue {
  /** @returns when there is room for more. */
  add(change: Change): Promise<void>;
  close(): void;
}

/** Takes changes together as they come; what is being worked on and what waits for it have a limit each. */
function createQueue(work: (changes: Change[]) => Promise<void>): Queue {
  const waiting: Change[] = [];
  const closing = new AbortController();
  let size = 0;
  let working: Promise<void> | undefined;

  async function run() {
    while (waiting.length > 0) {
      size = 0;
      await work(waiting.splice(0)).catch((error: unknown) => {
        if (closing.signal.aborted) return;
        const name = error instanceof Error ? error.name : typeof error;
        console.error(`realtime: changes could not be told: ${name}`);
      });
    }
    working = undefined;
  }

  return {
    async add(change) {
      if (closing.signal.aborted) return;
      waiting.push(change);
      size += change.size;
      // A turn later: what Postgres has sent at once is worked on at once.
      working ??= new Promise((resolve) => setImmediate(resolve)).then(run);
      if (waiting.length >= TOGETHER || size >= TOGETHER_SIZE) await working;
    },
    close() {
      closing.abort();
      waiting.length = 0;
    },
  };
}
