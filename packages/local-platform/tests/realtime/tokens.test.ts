// @module-tag proof
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { SupabaseClient } from "@supabase/supabase-js";
import { WebSocket } from "ws";
import { createKeys } from "local-platform/gateway/keys";
import { createTokens } from "local-platform/gateway/tokens";
import { startApiUnderTest } from "../api-under-test.ts";
import type { ApiUnderTest } from "../api-under-test.ts";
import {
  ALICE,
  BOB,
  brief,
  clientOf,
  commitAtOnce,
  fast,
  hears,
  join,
  listen,
  says,
  SQL,
} from "./listening.ts";

let api: ApiUnderTest;
const clients: SupabaseClient[] = [];

beforeAll(async () => {
  api = await startApiUnderTest(SQL);
  await commitAtOnce(api);
  await run("insert into public.accounts (user_id) values ($1), ($2)", [ALICE, BOB]);
});
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.removeAllChannels()));
});
afterAll(() => api.close());

const run = (sql: string, values: unknown[] = []) => api.db.admin.query(sql, values);
const now = () => Math.floor(Date.now() / 1000);
const accounts = { table: "accounts" };
async function withToken(token: string): Promise<SupabaseClient> {
  const client = api.clientAs(token);
  clients.push(client);
  // A channel that is joined before the client has asked for its token is joined without one.
  await sleep(0);
  return client;
}
async function as(user?: string): Promise<SupabaseClient> {
  const client = await clientOf(api, user);
  clients.push(client);
  return client;
}

describe("a token", () => {
  const claims = { sub: ALICE, role: "authenticated" };
  async function foreign(): Promise<string> {
    const { sign } = await createTokens(await createKeys());
    return await sign({ ...claims, exp: now() + 60 });
  }
  test.each<[string, () => Promise<string>, string | RegExp]>([
    [
      "that has expired",
      () => api.token({ ...claims, exp: now() - 12 }),
      /^InvalidJWTToken: Token has expired 1[23] seconds ago$/,
    ],
    ["of another key", foreign, "JwtSignatureError: Failed to validate JWT signature"],
    ["that is none", async () => "no.token", "MalformedJWT: The token provided is not a valid JWT"],
    [
      "without a role",
      () => api.token({ sub: ALICE }),
      "InvalidJWTToken: Fields `role` and `exp` are required in JWT",
    ],
  ])("%s joins no channel", async (_, make, words) => {
    const heard = join(await withToken(await make()), accounts);
    await expect.poll(() => heard.statuses[0], fast).toMatch(/^CHANNEL_ERROR/);
    const said = heard.statuses[0]!.slice("CHANNEL_ERROR: ".length);
    if (typeof words === "string") expect(said).toBe(words);
    else expect(said).toMatch(words);
    expect(heard.changes).toEqual([]);
  });

  test("that expires closes its channels, in so many words, and nothing is told any more", async () => {
    const client = await withToken(await api.token({ ...claims, exp: now() + 2 }));
    const heard = await listen(client, accounts);
    await says(heard, "error: Token has expired 0 seconds ago");
    await expect.poll(() => heard.statuses, fast).toEqual(["SUBSCRIBED", "CLOSED"]);
    await run("update public.accounts set balance = balance + 1");
    await sleep(300);
    expect(heard.changes).toEqual([]);
  });

  test("that is renewed in time keeps them", async () => {
    const client = await withToken(await api.token({ ...claims, exp: now() + 2 }));
    const heard = await listen(client, accounts);
    await client.realtime.setAuth(await api.token({ ...claims, exp: now() + 60 }));
    await expect.poll(() => heard.system.length, fast).toBe(2);
    await sleep(2_500);
    await run("update public.accounts set balance = balance + 1");
    await hears(heard, 1);
    expect(heard.statuses).toEqual(["SUBSCRIBED"]);
  });

  test("of somebody else is theirs from then on", async () => {
    const client = await withToken(await api.token(claims));
    const heard = await listen(client, accounts);
    await client.realtime.setAuth(await api.token({ ...claims, sub: BOB }));
    await expect.poll(() => heard.system.length, fast).toBe(2);
    await run("update public.accounts set balance = balance + 1");
    await hears(heard, 1);
    expect(brief(heard, "user_id")).toEqual([`UPDATE ${BOB}`]);
  });

  test("that is no good closes a channel that was open", async () => {
    const client = await withToken(await api.token(claims));
    const heard = await listen(client, accounts);
    await client.realtime.setAuth(await foreign());
    await says(heard, "error: :signature_error");
    await expect.poll(() => heard.statuses, fast).toEqual(["SUBSCRIBED", "CLOSED"]);
  });

  test("of a role that the API can't become hears nothing", async () => {
    const heard = await listen(
      await withToken(await api.token({ sub: ALICE, role: "supabase_admin" })),
      accounts,
    );
    await run("update public.accounts set balance = balance + 1");
    await hears(heard, 2);
    expect(heard.changes.map(({ new: row, errors }) => [row, errors])).toEqual(
      Array.from({ length: 2 }, () => [{}, ["Error 401: Unauthorized"]]),
    );
  });
});

describe("an API key", () => {
  const refused = async (query: string, headers: Record<string, string> = {}) => {
    const socket = new WebSocket(`${api.api.url.replace("http", "ws")}/realtime/v1/${query}`, { headers });
    return await new Promise<number | undefined>((resolve) => {
      socket.on("unexpected-response", (_, { statusCode }) => resolve(statusCode));
      socket.on("open", () => resolve(undefined));
      socket.on("error", () => {});
    });
  };

  test("that is missing, wrong, or secret and in a browser opens no socket", async () => {
    const { publishableKey, secretKey } = api.keys;
    expect([
      await refused("websocket?vsn=2.0.0"),
      await refused("websocket?vsn=2.0.0&apikey=sb_publishable_wrong"),
      await refused(`websocket?vsn=2.0.0&apikey=${secretKey}`, { "user-agent": "Mozilla/5.0 (X11)" }),
      await refused(`websocket?vsn=3.0.0&apikey=${publishableKey}`),
      await refused(`elsewhere?apikey=${publishableKey}`),
      await refused(`websocket?vsn=1.0.0&apikey=${publishableKey}`),
    ]).toEqual([401, 401, 401, 400, 404, undefined]);
  });
});

describe("what is not served is refused by name", () => {
  const ending = "is not served by the local platform, whose Realtime has postgres_changes only";

  test.each([
    ["broadcast", {}, []],
    ["broadcast", { broadcast: { ack: true } }, [{ table: "posts" }]],
    ["presence", { presence: { key: "me", enabled: true } }, [{ table: "posts" }]],
    ["private channels", { private: true }, [{ table: "posts" }]],
  ])("%s: a channel with %j", async (what, config, asked) => {
    const client = await as();
    const channel = client.channel("of no use", { config });
    for (const one of asked)
      channel.on("postgres_changes", { event: "*", schema: "public", ...one }, () => {});
    const [status, error] = await new Promise<[string, Error?]>((resolve) => {
      channel.subscribe((...told) => resolve(told));
    });
    expect([status, error?.message]).toEqual(["CHANNEL_ERROR", `NotServedLocally: ${what} ${ending}`]);
  });

  test("a channel of presence, and what is sent into a channel that is open", async () => {
    const client = await as();
    const present = client.channel("who is here").on("presence", { event: "sync" }, () => {});
    const told = await new Promise<string>((resolve) => {
      present.subscribe((_, error) => resolve(error?.message ?? ""));
    });
    expect(told).toBe(`NotServedLocally: presence ${ending}`);

    const heard = await listen(await as(), { table: "posts" });
    await heard.channel.send({ type: "broadcast", event: "cursor", payload: { x: 1 } });
    await says(heard, `error: NotServedLocally: broadcast ${ending}`);
    expect(await heard.channel.track({ at: 1 })).toBe("error");
    await says(heard, `error: NotServedLocally: presence ${ending}`);
    await run("insert into public.posts values (1)");
    await hears(heard, 1);
    const answer = await api.fetch("/realtime/v1/api/broadcast", { method: "POST", body: "{}" });
    expect([answer.status, await answer.json()]).toEqual([
      501,
      { message: expect.stringMatching("no broadcast") },
    ]);
  });
});

describe("a socket", () => {
  /** Frames as they are, of serializer 2.0.0. */
  async function raw() {
    const url = `${api.api.url.replace("http", "ws")}/realtime/v1/websocket?vsn=2.0.0&apikey=${api.keys.publishableKey}`;
    const socket = new WebSocket(url);
    const frames: unknown[][] = [];
    let closed: number | undefined;
    socket.on("message", (text: Buffer) => frames.push(JSON.parse(text.toString()) as unknown[]));
    socket.on("close", (code) => (closed = code));
    await new Promise((resolve) => socket.once("open", resolve));
    const config = { postgres_changes: [{ event: "*", schema: "public", table: "posts" }] };
    return {
      socket,
      frames,
      closed: () => closed,
      send: (...frame: unknown[]) => socket.send(JSON.stringify(frame)),
      join: (ref: string, topic: string) =>
        socket.send(JSON.stringify([ref, ref, topic, "phx_join", { config }])),
      events: () => frames.map(([joinRef, ref, topic, event]) => [joinRef, ref, topic, event].join(" ")),
    };
  }

  test("answers as Phoenix does: heartbeats, topics that are not joined, a topic that is joined again, leaving", async () => {
    const it = await raw();
    it.send(null, "1", "phoenix", "heartbeat", {});
    it.send("2", "2", "realtime:a", "phx_leave", {});
    it.join("3", "realtime:a");
    it.join("4", "realtime:a");
    it.send("3", "5", "realtime:a", "phx_leave", {}); // of the former
    it.send("4", "6", "realtime:a", "phx_leave", {});
    it.join("7", "elsewhere");
    it.join("8", "realtime:");
    await expect.poll(() => it.frames.filter(([, ref]) => ref === "8"), fast).toHaveLength(1);
    expect(it.events().filter((event) => !event.endsWith(" system"))).toEqual([
      " 1 phoenix phx_reply",
      "2 2 realtime:a phx_reply",
      "3 3 realtime:a phx_reply",
      "3 3 realtime:a phx_close",
      "4 4 realtime:a phx_reply",
      "4 6 realtime:a phx_reply",
      "4 4 realtime:a phx_close",
      "7 7 elsewhere phx_reply",
      "8 8 realtime: phx_reply",
    ]);
    const replies = it.frames
      .filter(([, , , event]) => event === "phx_reply")
      .map(([, , , , payload]) => payload);
    expect(replies.slice(0, 3)).toEqual([
      { status: "ok", response: {} },
      { status: "error", response: { reason: "unmatched topic" } },
      {
        status: "ok",
        response: {
          postgres_changes: [{ event: "*", schema: "public", table: "posts", id: expect.any(Number) }],
        },
      },
    ]);
    expect(replies.slice(-2)).toEqual([
      { status: "error", response: { reason: "unmatched topic" } },
      { status: "error", response: { reason: "TopicNameRequired: You must provide a topic name" } },
    ]);
    it.socket.terminate();
  });

  test("has 100 channels at most, and is closed for what is no frame", async () => {
    const it = await raw();
    for (let n = 1; n <= 101; n++) it.join(String(n), `realtime:${n}`);
    await expect.poll(() => it.frames.some(([ref]) => ref === "101"), fast).toBe(true);
    expect(it.frames.find(([ref]) => ref === "101")![4]).toEqual({
      status: "error",
      response: { reason: "ChannelRateLimitReached: Too many channels" },
    });
    it.socket.send(Buffer.from([3, 1, 1, 10, 1, 0, 1, ...Buffer.from("12realtime:1x")]));
    await expect.poll(() => JSON.stringify(it.frames), fast).toMatch(/broadcast is not served/);
    it.socket.send("{");
    await expect.poll(it.closed, fast).toBe(1007);
  });
});
