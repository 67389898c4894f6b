/** Which channels a page's WebSockets have open, read off the frames that pass: supabase-js says them in lists. */
import type { Page } from "playwright-core";

type Frame = [joinRef: string | null, ref: string | null, topic: string, event: string, payload: Payload];
interface Payload {
  config?: { postgres_changes?: { filter?: string }[] };
  extension?: string;
  status?: string;
}

export class Listening {
  readonly #channels = new Set<{ topic: string; filter: string; isHeard: boolean }>();

  /** What is listened to now, as the server has confirmed: the filters of the channels. */
  filters(): string[] {
    return [...this.#channels].filter(({ isHeard }) => isHeard).map(({ filter }) => filter);
  }

  watch(page: Page): void {
    page.on("websocket", (socket) => {
      const own = new Map<string, { topic: string; filter: string; isHeard: boolean }>();
      const end = (topic: string) => {
        this.#channels.delete(own.get(topic)!);
        own.delete(topic);
      };
      socket.on("framesent", ({ payload }) => {
        const [, , topic, event, said] = read(payload);
        if (event === "phx_leave") end(topic);
        if (event !== "phx_join") return;
        end(topic);
        own.set(topic, { topic, filter: said.config?.postgres_changes?.[0]?.filter ?? "", isHeard: false });
        this.#channels.add(own.get(topic)!);
      });
      socket.on("framereceived", ({ payload }) => {
        const [, , topic, event, said] = read(payload);
        const channel = own.get(topic);
        if (event === "system" && said.status === "ok" && channel !== undefined) channel.isHeard = true;
        if (event === "phx_close" || event === "phx_error") end(topic);
      });
      socket.on("close", () => [...own.keys()].forEach(end));
    });
  }
}

function read(payload: string | Buffer): Frame {
  return JSON.parse(payload.toString()) as Frame;
}
