import { EventSourceParserStream } from "eventsource-parser/stream";
import { fields, Meter } from "../../../../supabase/functions/_shared/model-usage.ts";
import {
  CallTimedOutError,
  type Hold,
  type HoldClient,
  NotSettledError,
  type StreamEnd,
  TokenbookError,
} from "../../../../supabase/functions/_shared/token-hold.ts";
import { chargedStream, FailedAnswer } from "./charged-stream.ts";
import { estimate } from "./estimate.ts";
import { checkCharge, type ChargeOptions, type Kind, termsOf } from "./options.ts";

type Bytes = Uint8Array<ArrayBuffer>;
type Fetch = typeof globalThis.fetch;

/** What costs tokens, by the end of its path. Everything else passes through. */
const kinds: [RegExp, Kind][] = [
  [/\/(chat\/completions|completions|responses|messages)$/, "chat"],
  [/\/embeddings$/, "embedding"],
  [/\/images\/(generations|edits|variations)$/, "image"],
  [/\/audio\/(transcriptions|translations|speech)$/, "audio"],
];

/**
 * A `fetch` that charges a user for calls of a model: for any client of an API like OpenAI's or Anthropic's that lets
 * you say which `fetch` it uses. {@link chargeOpenAI} and {@link chargeAnthropic} are this for their SDKs.
 *
 * Tokens are held before the request is sent; what the provider reports is paid when the answer has come to its end,
 * before its reader sees that; a call that failed costs nothing, one that was aborted or timed out what had come.
 * What the books refuse is an answer: 402 `insufficient_balance`, 429 `spend_cap_reached`, 409 `call_already_made`,
 * 504 `provider_timeout`. An `Idempotency-Key` of the request is the key of its hold.
 *
 * @param books a supabase-js client with the secret key
 * @example
 * ```ts
 * const openrouter = createOpenAICompatible({
 *   name: "openrouter",
 *   baseURL: "https://openrouter.ai/api/v1",
 *   fetch: chargedFetch(server, { userId: user.id }),
 * });
 * ```
 */
export function chargedFetch(
  books: HoldClient,
  options: ChargeOptions,
  send: Fetch = globalThis.fetch,
): Fetch {
  checkCharge("chargedFetch", options);
  return async (input, given = {}) => {
    const request = isRequest(input) ? input : undefined;
    const address = isRequest(input) ? input.url : input;
    const pathname = new URL(address).pathname.replace(/\/+$/, "");
    const kind = kinds.find(([path]) => path.test(pathname))?.[1];
    const method = given.method ?? request?.method;
    if (kind === undefined || method?.toUpperCase() !== "POST") return await send(input, given);

    const init = request === undefined ? given : await initOf(request, given);
    const asked = parametersOf(init.body);
    if (asked["background"] === true) {
      return refusal(400, "invalid_request", {
        message: "background: its usage is not known when it is answered",
      });
    }
    const isChat = pathname.endsWith("/chat/completions");
    const wantsUsage = fields(asked["stream_options"])["include_usage"] === true;
    const addsUsage = isChat && asked["stream"] === true && !wantsUsage;
    const body = addsUsage
      ? JSON.stringify({
          ...asked,
          stream_options: { ...fields(asked["stream_options"]), include_usage: true },
        })
      : init.body;
    const model = typeof asked["model"] === "string" ? asked["model"] : undefined;
    const { inputTokens, tokens } = estimate(kind, asked, options);
    const key = new Headers(init.headers).get("idempotency-key") ?? undefined;
    const signal = init.signal ?? undefined;
    let answer: Response | undefined;
    try {
      const stream = await chargedStream<Bytes>(
        books,
        options,
        termsOf(options, { kind, model, tokens, key, ...(signal && { signal }) }),
        async (hold) => {
          answer = await send(address, { ...init, ...(body != null && { body }), signal: hold.signal });
          if (!answer.ok || answer.body === null)
            throw new Refused(answer.status, await answer.arrayBuffer());
          const meter = new Meter({ model, inputTokens });
          // of audio a text was spoken, and is what is known; or something was heard, and all that is held is paid
          if (kind !== "audio" || asked["input"] !== undefined) hold.report(meter.usage());
          return counted(answer, meter, hold, addsUsage);
        },
        lastEvent,
      );
      return new Response(stream, answer);
    } catch (error) {
      if (error instanceof Refused) return new Response(error.body, answer);
      return refusalOf(error);
    }
  };
}

/** The provider did not answer the question. */
class Refused extends Error {
  readonly body: ArrayBuffer;

  constructor(status: number, body: ArrayBuffer) {
    super(`HTTP ${status}`);
    this.body = body;
  }
}

/** The answer, read as it passes. */
function counted(
  { body, headers }: Response,
  meter: Meter,
  hold: Hold,
  hidesUsage: boolean,
): ReadableStream<Bytes> {
  const source = body as ReadableStream<Bytes>;
  const type = headers.get("content-type") ?? "";
  if (type.startsWith("text/event-stream")) {
    return source
      .pipeThrough(new TextDecoderStream() as unknown as ReadableWritablePair<string, Bytes>)
      .pipeThrough(new EventSourceParserStream())
      .pipeThrough(events(meter, hold, hidesUsage));
  }
  return /^application\/(.+\+)?json/.test(type) ? source.pipeThrough(json(meter, hold)) : source;
}

const encoder = new TextEncoder();

/** Events by which a provider says that the answer is whole. */
const last = /^(message_stop|.+\.(completed|incomplete|done))$/;

function events(
  meter: Meter,
  hold: Hold,
  hidesUsage: boolean,
): TransformStream<{ event?: string | undefined; data: string }, Bytes> {
  let isComplete = false;
  return new TransformStream({
    transform({ event, data }, controller) {
      const bytes = encoder.encode(
        `${event === undefined ? "" : `event: ${event}\n`}data: ${data.replaceAll("\n", "\ndata: ")}\n\n`,
      );
      if (data === "[DONE]") {
        isComplete = true;
        controller.enqueue(bytes);
        return;
      }
      const it = fields(JSON.parse(data));
      const type = String(it["type"] ?? "");
      if (it["error"] != null || type === "error" || type === "response.failed")
        throw new FailedAnswer(bytes);
      const choices = Array.isArray(it["choices"]) ? it["choices"] : undefined;
      isComplete ||= last.test(type) && !/^response\..+\.done$/.test(type);
      isComplete ||= choices?.some((choice) => fields(choice)["finish_reason"] != null) ?? false;
      meter.read(it);
      hold.report(meter.usage());
      // a client that has not asked for usage does not expect an event without a choice
      if (!(hidesUsage && choices?.length === 0)) controller.enqueue(bytes);
    },
    flush() {
      if (!isComplete) throw new Error("the answer ended in the middle"); // @incomplete-answers-fail
    },
  });
}

function json(meter: Meter, hold: Hold): TransformStream<Bytes, Bytes> {
  const parts: Bytes[] = [];
  return new TransformStream({
    transform(part) {
      parts.push(part);
    },
    async flush(controller) {
      const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
      const it = fields(JSON.parse(new TextDecoder().decode(bytes)));
      if (it["error"] != null) throw new FailedAnswer(bytes);
      meter.read(it);
      hold.report(meter.usage());
      controller.enqueue(bytes);
    },
  });
}

/** Of a stream whose time is up: both SDKs make an error of it. Of others there is nothing to add. */
function lastEvent({ error }: StreamEnd): Bytes | undefined {
  if (!(error instanceof CallTimedOutError)) return undefined;
  return encoder.encode(`event: error\ndata: ${problem("provider_timeout", { message: error.message })}\n\n`);
}

/** A `Request`, of whatever make: a client may bring its own. */
const isRequest = (input: Parameters<Fetch>[0]): input is Request =>
  typeof input === "object" && "url" in input && "clone" in input;

/** What a `Request` says, as `fetch` takes it beside an address. */
async function initOf(request: Request, given: RequestInit): Promise<RequestInit> {
  const isForm = request.headers.get("content-type")?.startsWith("multipart/form-data") ?? false;
  const headers = new Headers(request.headers);
  if (isForm) headers.delete("content-type"); // its boundary is another when it is sent again
  const { credentials, redirect, signal } = request;
  const body = given.body ?? (isForm ? await request.formData() : await request.text());
  return { method: request.method, headers, credentials, redirect, signal, ...given, body };
}

/** The parameters, as far as they can be read. */
function parametersOf(body: RequestInit["body"]): Record<string, unknown> {
  if (body instanceof FormData)
    return Object.fromEntries([...body].filter(([, it]) => typeof it === "string"));
  if (typeof body !== "string") return {};
  try {
    return fields(JSON.parse(body));
  } catch {
    return {};
  }
}

/** What the books refuse, as an answer that an SDK makes an error of, and does not ask again for. */
function refusalOf(error: unknown): Response {
  if (error instanceof TokenbookError) {
    const { code, status, message, facts } = error;
    return refusal(status >= 400 ? status : 503, code, { message, ...facts });
  }
  if (error instanceof NotSettledError) return refusal(503, "unavailable", { message: error.message });
  throw error;
}

function refusal(status: number, code: string, facts: object): Response {
  return new Response(problem(code, facts), {
    status,
    headers: { "content-type": "application/json", "x-should-retry": "false" },
  });
}

const problem = (code: string, facts: object) =>
  JSON.stringify({ type: "error", error: { type: code, code, ...facts } });
