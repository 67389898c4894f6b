import type { WebSocket } from "ws";
import type { Caller } from "../gateway/caller.ts";
import type { Tokens } from "../gateway/tokens.ts";
import { BadBearer, expired, readBearer } from "./bearer.ts";
import type { Bearer } from "./bearer.ts";
import type { Listener } from "./delivery.ts";
import { readBinaryFrame, readFrame, writeFrame } from "./frames.ts";
import type { ClientFrame, Serializer } from "./frames.ts";

/** A joined channel. */
export interface Channel extends Listener {
  topic: string;
  /** Its entries of `postgres_changes`, with the ids that they were given. */
  asked: { id: number; params: Record<string, unknown> }[];
  isOpen: boolean;
  system(extension: "postgres_changes" | "system", status: "ok" | "error", message: string): void;
}

/** What happens to the channels of a socket. */
export interface ChannelEvents {
  /** Joined, or its caller is another one now. */
  onCaller(channel: Channel): void;
  onClose(channel: Channel): void;
}

/** A socket that says nothing for so long is gone, in milliseconds; supabase-js sends a heartbeat every 25 s. */
const SILENT_MS = 60_000;

/** As many channels has a socket at most, as on hosted projects. */
const MOST_CHANNELS = 100;

/** A socket whose client reads nothing is dropped at so many bytes that wait for it. */
export const MOST_WAITING_BYTES = 16 * 1024 * 1024;

/** A socket that asks faster than it is answered is dropped at so many frames. */
const MOST_WAITING_FRAMES = 1_000;

/** Timers of Node end at 2^31 milliseconds. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Ids of entries; a client compares them and nothing else. */
let ids = 0;

/**
 * Speaks with one client.
 *
 * @param keyCaller the caller that the API key stands for: used where a client has no token.
 */
export function serveSocket(
  socket: WebSocket,
  serializer: Serializer,
  keyCaller: Caller,
  tokens: Tokens,
  events: ChannelEvents,
): void {
  const channels = new Map<string, OpenChannel>();
  let waiting = 0;
  let turn: Promise<void> = Promise.resolve();
  const silence = setTimeout(() => socket.terminate(), SILENT_MS);

  function say(
    frame: { joinRef: string | null; ref: string | null; topic: string },
    event: string,
    payload: string,
  ) {
    if (socket.readyState !== socket.OPEN) return;
    if (socket.bufferedAmount > MOST_WAITING_BYTES) return socket.terminate();
    socket.send(writeFrame({ ...frame, event, payload }, serializer));
  }
  function reply(frame: ClientFrame, status: "ok" | "error", response: object) {
    say(frame, "phx_reply", JSON.stringify({ status, response }));
  }

  function close(channel: OpenChannel) {
    channel.end();
    if (channels.get(channel.topic) === channel) channels.delete(channel.topic);
    events.onClose(channel);
    say({ joinRef: channel.joinRef, ref: channel.joinRef, topic: channel.topic }, "phx_close", "{}");
  }

  /** @returns whose channel it is: of the token, or of the key where there is none. */
  async function bearerOf({ access_token, user_token }: Record<string, unknown>): Promise<Bearer> {
    const token = user_token ?? access_token;
    if (typeof token !== "string" || token.startsWith("sb_")) return { caller: keyCaller, until: undefined };
    return await readBearer(tokens, token);
  }

  async function join(frame: ClientFrame) {
    const former = channels.get(frame.topic);
    if (former !== undefined) close(former);
    const config = objectIn(frame.payload["config"]);
    const refusal = refusalOf(frame.topic, config, channels.size);
    if (refusal !== undefined) return reply(frame, "error", { reason: refusal });
    let bearer: Bearer;
    try {
      bearer = await bearerOf(frame.payload);
    } catch (error) {
      if (!(error instanceof BadBearer)) throw error;
      return reply(frame, "error", { reason: `${error.code}: ${error.message}` });
    }
    const asked = entriesOf(config).map((params) => ({ id: ++ids, params }));
    const channel = openChannel(frame, asked, bearer, say, close);
    channels.set(frame.topic, channel);
    reply(frame, "ok", { postgres_changes: asked.map(({ id, params }) => ({ ...params, id })) });
    events.onCaller(channel);
  }

  async function renew(channel: OpenChannel, { access_token: token }: Record<string, unknown>) {
    if (typeof token !== "string" || token.startsWith("sb_") || token === channel.token) return;
    try {
      channel.setBearer(await readBearer(tokens, token), token);
      events.onCaller(channel);
    } catch (error) {
      if (!(error instanceof BadBearer)) throw error;
      // Hosted Realtime prints its own name of this one error.
      const words = error.code === "JwtSignatureError" ? ":signature_error" : error.message;
      channel.system("system", "error", words);
      close(channel);
    }
  }

  async function handle(frame: ClientFrame): Promise<void> {
    if (frame.topic === "phoenix" && frame.event === "heartbeat") return reply(frame, "ok", {});
    if (frame.event === "phx_join") return await join(frame);
    const channel = channels.get(frame.topic);
    if (channel === undefined) return reply(frame, "error", { reason: "unmatched topic" });
    // Of a channel of this name that was joined before.
    if (frame.joinRef !== null && frame.joinRef !== channel.joinRef) return;
    if (frame.event === "phx_leave") {
      reply(frame, "ok", {});
      return close(channel);
    }
    if (frame.event === "access_token") return await renew(channel, frame.payload);
    const reason = notServed(frame.event);
    reply(frame, "error", { reason });
    channel.system("system", "error", reason);
  }

  socket.on("message", (data: Buffer, isBinary) => {
    silence.refresh();
    const frame = isBinary ? readBinaryFrame(data) : readFrame(data.toString("utf8"), serializer);
    if (frame === undefined) return socket.close(1007, "no frame of Phoenix");
    if (++waiting > MOST_WAITING_FRAMES) return socket.terminate();
    turn = turn
      .then(() => handle(frame))
      .catch((error: unknown) => {
        console.error(
          `realtime: ${frame.event} failed: ${error instanceof Error ? error.name : typeof error}`,
        );
        socket.terminate();
      })
      .finally(() => void waiting--);
  });
  // What follows a broken connection is its end.
  socket.on("error", () => {});
  socket.on("close", () => {
    clearTimeout(silence);
    for (const channel of channels.values()) {
      channel.end();
      events.onClose(channel);
    }
    channels.clear();
  });
}

interface OpenChannel extends Channel {
  joinRef: string | null;
  token: string | undefined;
  setBearer(bearer: Bearer, token: string): void;
  end(): void;
}

type Say = (
  frame: { joinRef: string | null; ref: string | null; topic: string },
  event: string,
  payload: string,
) => void;

function openChannel(
  { topic, joinRef, payload }: ClientFrame,
  asked: Channel["asked"],
  bearer: Bearer,
  say: Say,
  close: (channel: OpenChannel) => void,
): OpenChannel {
  let timer: NodeJS.Timeout | undefined;
  const channel = {
    topic,
    joinRef,
    asked,
    caller: bearer.caller,
    token: payload["access_token"] as string | undefined,
    isOpen: true,
    system(extension: string, status: string, message: string) {
      const words = { extension, status, message, channel: topic.slice(PREFIX.length) };
      if (channel.isOpen) say({ joinRef: null, ref: null, topic }, "system", JSON.stringify(words));
    },
    tell(changed: number[], data: string) {
      if (!channel.isOpen) return;
      say(
        { joinRef: null, ref: null, topic },
        "postgres_changes",
        `{"ids":[${changed.join(",")}],"data":${data}}`,
      );
    },
    setBearer({ caller, until }: Bearer, token: string) {
      channel.caller = caller;
      channel.token = token;
      watch(until);
    },
    end() {
      channel.isOpen = false;
      clearTimeout(timer);
    },
  };
  /** A channel is not open for longer than its token is good. */
  function watch(until: number | undefined) {
    clearTimeout(timer);
    if (until === undefined || !channel.isOpen) return;
    const left = until * 1000 - Date.now();
    timer = setTimeout(
      () => {
        if (until * 1000 > Date.now()) return watch(until);
        channel.system("system", "error", expired(Math.floor(Date.now() / 1000) - until).message);
        close(channel);
      },
      Math.min(left, LONGEST_TIMER_MS),
    );
  }
  watch(bearer.until);
  return channel;
}

const PREFIX = "realtime:";

/** Why a channel can't be joined, before anybody's token is looked at. */
function refusalOf(topic: string, config: Record<string, unknown>, open: number): string | undefined {
  if (!topic.startsWith(PREFIX)) return "unmatched topic";
  if (topic === PREFIX) return "TopicNameRequired: You must provide a topic name";
  if (open >= MOST_CHANNELS) return "ChannelRateLimitReached: Too many channels";
  const [broadcast, presence] = [objectIn(config["broadcast"]), objectIn(config["presence"])];
  if (config["private"] === true) return notServed("private channels");
  if (presence["enabled"] === true) return notServed("presence");
  const wantsBroadcast = ["ack", "self", "replay", "replication_ready"].some((option) => broadcast[option]);
  if (wantsBroadcast || entriesOf(config).length === 0) return notServed("broadcast");
  return undefined;
}

/** Says what is missing. A channel without `postgres_changes` could be of use for broadcast or presence only. */
function notServed(what: string): string {
  return `NotServedLocally: ${what} is not served by the local platform, whose Realtime has postgres_changes only`;
}

function entriesOf({ postgres_changes: entries }: Record<string, unknown>): Record<string, unknown>[] {
  return Array.isArray(entries) ? entries.filter((one) => typeof one === "object" && one !== null) : [];
}

function objectIn(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
