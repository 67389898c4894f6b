/** A server with OpenAI's chat completions, whose models do everything that such servers do wrong. */
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Provider {
  /** For AI_BASE_URL. */
  url: string;
  /** The requests so far. */
  asked: Asked[];
  close(): Promise<void>;
}

export interface Asked {
  path: string;
  authorization: string | undefined;
  // A test reads what it expects.
  // oxlint-disable-next-line typescript/no-explicit-any
  body: any;
  /** Whether the one who asked went away before the answer's end. */
  wasLeft: boolean;
}

/** What the words of the answer are counted as. */
export const usage = { prompt_tokens: 20, completion_tokens: 10, total_tokens: 30 };

const words = ["One", " two", " three", " four"];

/** The text of a whole answer. */
export const answer = words.join("");

type Model = (write: Writer, outgoing: ServerResponse) => void | Promise<void>;

interface Writer {
  /** An event with a word of the answer. */
  word(nth: number, rest?: object): void;
  /** All of them. */
  words(): void;
  event(data: unknown): void;
  /** The events after the last word: why it ended, what it used, that it is over. */
  ending(used?: object | null): void;
}

const forEver = () => new Promise<never>(() => {});
const pause = (ms: number) => new Promise((go) => setTimeout(go, ms));

/** What each model does. Those that never come back are ended with the server. */
const models: Record<string, Model> = {
  streams(write) {
    write.words();
    write.ending(usage);
  },
  async slow(write) {
    for (let nth = 0; nth < words.length; nth++) {
      await pause(100);
      write.word(nth);
    }
    write.ending(usage);
  },
  thinks(write) {
    write.words();
    write.ending({
      ...usage,
      prompt_tokens_details: { cached_tokens: 15 },
      completion_tokens_details: { reasoning_tokens: 4 },
    });
  },
  "thinks-beside"(write) {
    write.words();
    write.ending({ ...usage, total_tokens: 34, completion_tokens_details: { reasoning_tokens: 4 } });
  },
  "counts-junk"(write) {
    write.words();
    write.ending({ prompt_tokens: -5, completion_tokens: 1e300, total_tokens: "many" });
  },
  "counts-nothing"(write) {
    write.words();
    write.ending(null);
  },
  "counts-zeros"(write) {
    write.words();
    write.ending({ prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 });
  },
  "ends-with-zeros"(write) {
    write.words();
    write.event({ choices: [], usage });
    write.ending({ prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 });
  },
  "is-dear"(write) {
    write.words();
    write.ending({ prompt_tokens: 20, completion_tokens: 480, total_tokens: 500 });
  },
  async "begins-late"(_, outgoing) {
    await pause(1_000);
    outgoing.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
    await forEver();
  },
  async "stalls-at-once"() {
    await forEver();
  },
  async "stalls-midway"(write) {
    write.word(0);
    await forEver();
  },
  async "breaks-midway"(write, outgoing) {
    write.word(0);
    await pause(50);
    outgoing.destroy();
  },
  "ends-midway"(write) {
    write.word(0);
  },
  "errs-midway"(write) {
    write.word(0);
    write.event({ error: { message: "key sk-secret-of-the-project is over its limit", code: 429 } });
  },
  "talks-junk"(write) {
    write.word(0);
    write.event("{not json");
  },
  "never-ends-a-line"(_, outgoing) {
    outgoing.setHeader("content-type", "text/event-stream");
    outgoing.write(`data: ${"x".repeat(2 * 1024 * 1024)}`);
  },
  "says-400": (_, outgoing) => refuse(outgoing, 400),
  "says-401": (_, outgoing) => refuse(outgoing, 401),
  "says-429": (_, outgoing) => refuse(outgoing, 429),
  "says-500": (_, outgoing) => refuse(outgoing, 500),
  "says-html"(_, outgoing) {
    outgoing.setHeader("content-type", "text/html").end("<h1>Welcome</h1>");
  },
  "goes-elsewhere"(_, outgoing) {
    outgoing.writeHead(307, { location: "http://127.0.0.1:1/v1/chat/completions" }).end();
  },
};

const completion = (used: object | undefined) => ({
  id: "chatcmpl-1",
  object: "chat.completion",
  choices: [{ index: 0, message: { role: "assistant", content: answer }, finish_reason: "stop" }],
  usage: used,
});

/** What those answer who are asked for one piece of JSON; the others do what they do in a stream. */
const wholes: Record<string, unknown> = {
  streams: completion(usage),
  "counts-nothing": completion(undefined),
  "counts-zeros": completion({ prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 }),
  "is-dear": completion({ prompt_tokens: 20, completion_tokens: 480, total_tokens: 500 }),
  "talks-junk": "{not json",
  "errs-midway": { error: { message: "key sk-secret-of-the-project is over its limit" } },
  embeds: {
    object: "list",
    data: [{ object: "embedding", index: 0, embedding: [0.25, -1] }],
    usage: { prompt_tokens: 8, total_tokens: 8 },
  },
  "embeds-uncounted": { object: "list", data: [{ object: "embedding", index: 0, embedding: [0.25, -1] }] },
};

export async function startProvider(): Promise<Provider> {
  const asked: Asked[] = [];
  const server = createServer(async (incoming, outgoing) => {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const body = JSON.parse(Buffer.concat(chunks).toString("utf8"));
    const it: Asked = {
      path: incoming.url!,
      authorization: incoming.headers.authorization,
      body,
      wasLeft: false,
    };
    asked.push(it);
    outgoing.on("close", () => (it.wasLeft = !outgoing.writableFinished));
    const whole = body.stream === true ? undefined : wholes[body.model];
    if (whole !== undefined) {
      outgoing.setHeader("content-type", "application/json");
      outgoing.write(typeof whole === "string" ? whole : JSON.stringify(whole));
    } else await models[body.model]!(writerOf(outgoing), outgoing);
    if (!outgoing.destroyed) outgoing.end();
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    asked,
    async close() {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
}

function writerOf(outgoing: ServerResponse): Writer {
  const event = (data: unknown) => {
    if (!outgoing.headersSent) outgoing.setHeader("content-type", "text/event-stream");
    outgoing.write(`data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`);
  };
  const chunk = (choices: object[], rest: object = {}) =>
    event({ id: "chatcmpl-1", object: "chat.completion.chunk", model: "stand-in", choices, ...rest });
  const word = (nth: number, rest: object = {}) =>
    chunk([{ index: 0, delta: { content: words[nth] }, finish_reason: null }], { usage: null, ...rest });
  return {
    event,
    word,
    words: () => words.forEach((_, nth) => word(nth)),
    ending(used) {
      chunk([{ index: 0, delta: {}, finish_reason: "stop" }], { usage: null });
      if (used !== null) chunk([], { usage: used });
      event("[DONE]");
    },
  };
}

function refuse(outgoing: ServerResponse, status: number): void {
  outgoing.writeHead(status, { "content-type": "application/json" });
  outgoing.end(JSON.stringify({ error: { message: "sk-secret-of-the-project is not welcome here" } }));
}
