import { EventSourceParserStream } from "eventsource-parser/stream";
import { fields, Meter } from "../_shared/model-usage.ts";
import { Refusal } from "../_shared/problem.ts";
import type { Hold } from "../_shared/token-hold.ts";
import type { Provider } from "./provider.ts";
import type { Call } from "./request.ts";

/** The longest event that is taken from a provider, in characters. */
const longestEvent = 1024 * 1024;

/** The longest whole answer, in bytes: 2,048 embeddings of 3,072 numbers are longer, and are asked for in parts. */
const longestAnswer = 32 * 1024 * 1024;

/** Answers that say the request is at fault, and not the provider or our key. */
const faultsOfTheRequest = [400, 404, 413, 415, 422];

/**
 * Asks the provider, and passes its events on: parsed and written anew, so that only what was
 * understood and counted reaches the client.
 *
 * @throws {Refusal} provider_refused or provider_failed, also from the stream
 */
export async function openCompletion(
  provider: Provider,
  call: Call,
  hold: Hold,
): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
  const body = await ask(provider, call, hold, "text/event-stream");
  return body
    .pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array<ArrayBuffer>>)
    .pipeThrough(new EventSourceParserStream({ maxBufferSize: longestEvent }))
    .pipeThrough(counted(call, hold));
}

/**
 * Asks the provider for its answer as one piece of JSON.
 *
 * @throws {Refusal} provider_refused or provider_failed
 */
export async function wholeAnswer(
  provider: Provider,
  call: Call,
  hold: Hold,
): Promise<Record<string, unknown>> {
  const body = await ask(provider, call, hold, "application/json");
  let text = "";
  let size = 0;
  const decoder = new TextDecoder();
  try {
    for await (const chunk of body) {
      size += chunk.length;
      if (size > longestAnswer) throw new Refusal("provider_failed");
      text += decoder.decode(chunk, { stream: true });
    }
  } catch (error) {
    hold.signal.throwIfAborted();
    throw error instanceof Refusal ? error : new Refusal("provider_failed", {}, { cause: error });
  }
  const answer = parsed(text);
  const isAnswer = Array.isArray(answer["choices"]) || Array.isArray(answer["data"]);
  if (answer["error"] != null || !isAnswer) throw new Refusal("provider_failed");
  const meter = new Meter(call);
  meter.read(answer);
  hold.report(meter.usage());
  return answer;
}

async function ask(
  { baseUrl, apiKey }: Provider,
  { path, body }: Call,
  { signal }: Hold,
  mediaType: string,
): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
  const response = await fetch(`${baseUrl}/${path}`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      accept: mediaType,
      ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }),
    },
    body: JSON.stringify(body),
    redirect: "error", // the key and the prompt are for this server only
    signal,
  }).catch((error: unknown) => {
    signal.throwIfAborted();
    throw new Refusal("provider_failed", {}, { cause: error });
  });
  const isAsAsked = response.headers.get("content-type")?.startsWith(mediaType) ?? false;
  if (!response.ok || !isAsAsked || response.body === null) {
    await response.body?.cancel();
    const slug = faultsOfTheRequest.includes(response.status) ? "provider_refused" : "provider_failed";
    throw new Refusal(slug, { providerStatus: response.status });
  }
  return response.body;
}

/**
 * Counts what passes through. What the provider reports counts; until it does, and when it never does,
 * the estimate of what was sent and received.
 */
function counted(call: Call, hold: Hold): TransformStream<{ data: string }, Uint8Array<ArrayBuffer>> {
  const encoder = new TextEncoder();
  const meter = new Meter(call);
  let isComplete = false;

  return new TransformStream({
    transform({ data }, controller) {
      if (data === "[DONE]") {
        isComplete = true; // the client gets it when the call has been paid for
        return;
      }
      const chunk = parsed(data);
      if (chunk["error"] != null) throw new Refusal("provider_failed");
      const choices = Array.isArray(chunk["choices"]) ? chunk["choices"].map(fields) : [];
      isComplete ||= choices.some((choice) => choice["finish_reason"] != null);
      meter.read(chunk);
      hold.report(meter.usage());
      // A client that has not asked for it does not expect an event without a choice.
      if (choices.length > 0 || call.wantsUsage) controller.enqueue(encoder.encode(`data: ${data}\n\n`));
    },
    flush() {
      if (!isComplete) throw new Refusal("provider_failed"); // it ended in the middle
    },
  });
}

function parsed(data: string): Record<string, unknown> {
  try {
    return fields(JSON.parse(data));
  } catch {
    throw new Refusal("provider_failed");
  }
}
