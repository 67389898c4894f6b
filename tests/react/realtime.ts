/**
 * As much of Realtime as one channel of `postgres_changes` needs, over a real WebSocket in Phoenix's frames (serializer
 * 2.0.0): joined, told of each change of a row of token_accounts, left. It is not Realtime: rights are not asked.
 */
import type { Server } from "node:http";
import pg from "pg";
import { WebSocketServer, type WebSocket } from "ws";
import type { Database } from "../support/database.ts";

type Frame = [joinRef: string | null, ref: string | null, topic: string, event: string, payload: Payload];
interface Payload {
  access_token?: string;
  config?: { postgres_changes?: { filter?: string }[] };
}

interface Joined {
  socket: WebSocket;
  joinRef: string | null;
  topic: string;
  filter: string;
}

export interface Realtime {
  /** Who is listened to, by the filters of the channels that are joined now. */
  filters(): string[];
  /** What a join is answered from now on. */
  answersJoins: "ok" | "error" | "nothing";
  /** Breaks every connection. */
  drop(): void;
  close(): Promise<void>;
}

/** Answers at `/realtime/v1/websocket` of a server. */
export async function startRealtime(server: Server, db: Database): Promise<Realtime> {
  const sockets = new WebSocketServer({ server, path: "/realtime/v1/websocket" });
  const joined = new Set<Joined>();
  await db.admin.query(
    `create function public.tell_of_change() returns trigger language plpgsql as
       $$ begin perform pg_notify('changed', new.user_id::text); return null; end $$;
     create trigger tell_of_change after insert or update on public.token_accounts
       for each row execute function public.tell_of_change()`,
  );
  const listener = new pg.Client({ connectionString: db.url() });
  await listener.connect();
  await listener.query("listen changed");
  listener.on("notification", ({ payload }) => {
    const [userId] = payload!.split("#");
    for (const { socket, joinRef, topic, filter } of joined) {
      if (filter !== `user_id=eq.${userId}`) continue;
      const data = { schema: "public", table: "token_accounts", type: "UPDATE", columns: [], record: {} };
      const change = {
        ids: [1],
        data: { ...data, commit_timestamp: new Date().toISOString(), errors: null },
      };
      socket.send(JSON.stringify([joinRef, null, topic, "postgres_changes", change]));
    }
  });

  sockets.on("connection", (socket) => {
    socket.on("close", () => {
      for (const one of joined) if (one.socket === socket) joined.delete(one);
    });
    socket.on("message", (text) => {
      // oxlint-disable-next-line typescript/no-base-to-string -- text frames are Buffers
      const [joinRef, ref, topic, event, payload] = JSON.parse(String(text)) as Frame;
      const say = (name: string, what: object, to: string | null = null) =>
        socket.send(JSON.stringify([joinRef, to, topic, name, what]));
      if (event === "phx_leave") {
        for (const one of joined) if (one.socket === socket && one.topic === topic) joined.delete(one);
      }
      if (event !== "phx_join") return say("phx_reply", { status: "ok", response: {} }, ref);
      if (realtime.answersJoins === "nothing") return;
      const changes = payload.config?.postgres_changes ?? [];
      if (realtime.answersJoins === "error" || payload.access_token === undefined) {
        return say("phx_reply", { status: "error", response: { reason: "Unauthorized" } }, ref);
      }
      const response = { postgres_changes: changes.map((it, n) => ({ ...it, id: n + 1 })) };
      say("phx_reply", { status: "ok", response }, ref);
      joined.add({ socket, joinRef, topic, filter: changes[0]?.filter ?? "" });
      const ready = { extension: "postgres_changes", status: "ok", message: "Subscribed to PostgreSQL" };
      say("system", { ...ready, channel: topic.replace("realtime:", "") });
    });
  });

  const realtime: Realtime = {
    filters: () => [...joined].map(({ filter }) => filter),
    answersJoins: "ok",
    drop: () => sockets.clients.forEach((it) => it.terminate()),
    async close() {
      realtime.drop();
      sockets.close();
      await listener.end();
    },
  };
  return realtime;
}
