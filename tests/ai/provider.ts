/** A server with the APIs of OpenAI and Anthropic, over real HTTP. What it does stands in the model's name. */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What becomes of a call. */
export type Fate =
  | "runs"
  | "ends in zeros"
  | "says-500"
  | "says-400"
  | "is cut"
  | "ends early"
  | "errs"
  | "stalls"
  | "calls a tool";

export interface Provider {
  /** Without a path. */
  url: string;
  /** Bodies of the requests so far, with their paths. */
  asked: { path: string; body: string; headers: IncomingHttpHeaders }[];
  close(): Promise<void>;
}

export const words = ["four", "more", "tide", "come"];

/** A model that does that, and reports those tokens. */
export const modelOf = (fate: Fate, input: number, output: number) =>
  `${fate.replaceAll(" ", "_")}:${input}:${output}`;

/** Where an answer that is streamed has got to: the request is there, its headers were sent, that many words, the count. */
export type Step = "asked" | "begun" | number | "counted";

const pause = (ms: number) => new Promise((go) => setTimeout(go, ms));

/**
 * @param pauseMs before each word
 * @param at hears each step of a stream, and keeps it there until it is done
 */
export async function startProvider(
  pauseMs = 5,
  at: (step: Step, request: IncomingMessage) => Promise<void> = async () => {},
): Promise<Provider> {
  const asked: Provider["asked"] = [];
  const server = createServer(async (incoming, outgoing) => {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString("utf8");
    asked.push({ path: incoming.url!, body, headers: incoming.headers });
    if (incoming.method === "GET") {
      outgoing.setHeader("content-type", "application/json").end('{"data":[]}');
      return;
    }
    const isForm = incoming.headers["content-type"]?.startsWith("multipart/") ?? false;
    const request = isForm
      ? { model: /name="model"\s+([^\r]+)/.exec(body)![1]!, stream: false }
      : (JSON.parse(body) as { model: string; stream?: boolean; messages?: { role: string }[] });
    const [fate, input, output] = request.model.split(":");
    const call: Call = {
      fate: fate!.replaceAll("_", " ") as Fate,
      input: Number(input),
      output: Number(output),
      path: incoming.url!.replace(/\/$/, ""),
      outgoing,
      at: (step) => at(step, incoming),
    };
    // once: what the tool said is there
    if (call.fate === "calls a tool" && request.messages?.at(-1)?.role === "tool") call.fate = "runs";
    if (call.fate === "says-500" || call.fate === "says-400") {
      outgoing.writeHead(Number(call.fate.slice(5)), { "content-type": "application/json" });
      outgoing.end(JSON.stringify({ type: "error", error: { type: "no", message: "not today" } }));
    } else if (request.stream === true) await stream(call, pauseMs);
    else await whole(call, pauseMs);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    async close() {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
}

interface Call {
  fate: Fate;
  input: number;
  output: number;
  path: string;
  outgoing: ServerResponse;
  at: (step: Step) => Promise<void>;
}

async function whole({ fate, input, output, path, outgoing }: Call, pauseMs: number): Promise<void> {
  const text = words.join(" ");
  const counts = { input_tokens: input, output_tokens: output };
  const total = { prompt_tokens: input, completion_tokens: output, total_tokens: input + output };
  const call = { id: "call-1", type: "function", function: { name: "look_up_the_tide", arguments: "{}" } };
  const choice =
    fate === "calls a tool"
      ? { message: { role: "assistant", tool_calls: [call] }, finish_reason: "tool_calls" }
      : { message: { role: "assistant", content: text }, finish_reason: "stop" };
  const answers: [RegExp, object][] = [
    [/chat\/completions$/, { choices: [choice], usage: total }],
    [/messages$/, { type: "message", role: "assistant", content: [{ type: "text", text }], usage: counts }],
    [
      /responses$/,
      {
        object: "response",
        output: [{ type: "message", content: [{ type: "output_text", text }] }],
        usage: { ...counts, total_tokens: input + output },
      },
    ],
    [/embeddings$/, { data: [{ embedding: [0.5] }], usage: { prompt_tokens: input, total_tokens: input } }],
    [
      /images\/generations$/,
      {
        data: [{ b64_json: "AAAA" }, { b64_json: "AAAA" }],
        ...(output > 0 && { usage: { ...counts, total_tokens: input + output } }),
      },
    ],
    [/transcriptions$/, { text, usage: { type: "duration", seconds: 9 } }],
  ];
  if (path.endsWith("/speech")) {
    outgoing.setHeader("content-type", "audio/mpeg").end(Buffer.alloc(64));
    return;
  }
  await pause(pauseMs * 3);
  if (fate === "stalls") return;
  const json = JSON.stringify(
    fate === "errs" ? { error: { message: "over its limit" } } : answers.find(([it]) => it.test(path))![1],
  );
  outgoing.setHeader("content-type", "application/json");
  if (fate === "is cut" || fate === "ends early") {
    outgoing.setHeader("content-length", json.length);
    outgoing.write(json.slice(0, json.length / 2));
    await pause(pauseMs);
    outgoing.destroy();
  } else outgoing.end(json);
}

async function stream({ fate, input, output, path, outgoing, at }: Call, pauseMs: number): Promise<void> {
  const isOpenAI = path.endsWith("/chat/completions");
  const isAnthropic = path.endsWith("/messages");
  await at("asked");
  outgoing.setHeader("content-type", "text/event-stream").flushHeaders();
  await at("begun");
  const send = (data: object, event?: string) =>
    outgoing.write(`${event === undefined ? "" : `event: ${event}\n`}data: ${JSON.stringify(data)}\n\n`);
  const named = (data: { type: string }) => send(data, data.type);

  if (isAnthropic) {
    named({
      type: "message_start",
      message: {
        type: "message",
        role: "assistant",
        content: [],
        usage: { input_tokens: input, output_tokens: 1 },
      },
    } as { type: string });
    named({ type: "content_block_start", index: 0, content_block: { type: "text", text: "" } } as {
      type: string;
    });
  }
  for (const [nth, word] of words.entries()) {
    await pause(pauseMs);
    if (outgoing.destroyed) return;
    if (nth === 2 && fate === "is cut") return void outgoing.destroy();
    if (nth === 2 && fate === "ends early") return void outgoing.end();
    if (nth === 2 && fate === "stalls") return;
    if (nth === 2 && fate === "errs") {
      if (isAnthropic)
        named({ type: "error", error: { type: "overloaded_error", message: "not today" } } as {
          type: string;
        });
      else send({ error: { message: "not today", code: "overloaded" } });
      return void outgoing.end();
    }
    if (isOpenAI)
      send({
        object: "chat.completion.chunk",
        choices: [{ index: 0, delta: { content: word }, finish_reason: null }],
      });
    else if (isAnthropic)
      named({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text: word } } as {
        type: string;
      });
    else named({ type: "response.output_text.delta", delta: word } as { type: string });
    await at(nth + 1);
  }
  if (isOpenAI) {
    send({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] });
    send({
      choices: [],
      usage: { prompt_tokens: input, completion_tokens: output, total_tokens: input + output },
    });
    if (fate === "ends in zeros")
      send({ choices: [], usage: { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 } });
    await at("counted");
    outgoing.write("data: [DONE]\n\n");
  } else if (isAnthropic) {
    named({ type: "content_block_stop", index: 0 } as { type: string });
    named({ type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: output } } as {
      type: string;
    });
    named({ type: "message_stop" });
  } else {
    const usage = { input_tokens: input, output_tokens: output, total_tokens: input + output };
    named({ type: "response.completed", response: { object: "response", output: [], usage } } as {
      type: string;
    });
  }
  outgoing.end();
}
