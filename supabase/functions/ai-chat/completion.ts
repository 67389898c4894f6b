import { EventSourceParserStream } from "eventsource-parser/stream";
import { Refusal } from "../_shared/problem.ts";
import type { Hold } from "../_shared/token-hold.ts";
import type { Provider } from "./provider.ts";
import type { Call } from "./request.ts";
import { bytesOf, type Counts, countsOf, fields, tokensInBytes } from "./usage.ts";

/** The longest event that is taken from a provider, in characters. */
const longestEvent = 1024 * 1024;

/** Answers that say the request is at fault, and not the provider or our key. */
const faultsOfTheRequest = [400, 404, 413, 415, 422];

/**
 * Asks the provider, and passes its events on: parsed and written anew, so that only what was
 * understood and counted reaches the client.
 *
 * @throws {Refusal} provider_refused or provider_failed, also from the stream
 */
export async function openCompletion(
  { baseUrl, apiKey }: Provider,
  call: Call,
  hold: Hold,
): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
  const response = await fetch(`${baseUrl}/chat/completions`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      accept: "text/event-stream",
      ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }),
    },
    body: JSON.stringify(call.body),
    redirect: "error", // the key and the prompt are for this server only
    signal: hold.signal,
  }).catch((error: unknown) => {
    hold.signal.throwIfAborted();
    throw new Refusal("provider_failed", {}, { cause: error });
  });
  const isStream = response.headers.get("content-type")?.startsWith("text/event-stream") ?? false;
  if (!response.ok || !isStream || response.body === null) {
    await response.body?.cancel();
    const slug = faultsOfTheRequest.includes(response.status) ? "provider_refused" : "provider_failed";
    throw new Refusal(slug, { providerStatus: response.status });
  }
  return response.body
    .pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array<ArrayBuffer>>)
    .pipeThrough(new EventSourceParserStream({ maxBufferSize: longestEvent }))
    .pipeThrough(counted(call, hold));
}

/**
 * Counts what passes through. What the provider reports counts; until it does, and when it never does,
 * the estimate of what was sent and received.
 */
function counted(call: Call, hold: Hold): TransformStream<{ data: string }, Uint8Array<ArrayBuffer>> {
  const encoder = new TextEncoder();
  let reported: Counts | undefined;
  let textBytes = 0;
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
      for (const choice of choices) {
        textBytes += bytesIn(fields(choice["delta"]));
        isComplete ||= choice["finish_reason"] != null;
      }
      reported = countsOf(chunk["usage"]) ?? reported;
      hold.report({
        model: call.model,
        ...(reported ?? { inputTokens: call.inputTokens, outputTokens: tokensInBytes(textBytes) }),
        metadata: { counted_by: reported === undefined ? "estimate" : "provider" },
      });
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

/** Bytes of what the model wrote: its answer, its reasoning, the arguments of tools that it calls. */
function bytesIn(delta: Record<string, unknown>): number {
  const calls = Array.isArray(delta["tool_calls"]) ? delta["tool_calls"] : [];
  const texts = [
    ...["content", "reasoning_content", "reasoning", "refusal"].map((name) => delta[name]),
    ...calls.map((it) => fields(fields(it)["function"])["arguments"]),
  ];
  return texts.reduce<number>((sum, it) => sum + (typeof it === "string" ? bytesOf(it) : 0), 0);
}
