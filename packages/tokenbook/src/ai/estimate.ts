import { bytesOf, tokensInBytes } from "../../../../supabase/functions/_shared/model-usage.ts";
import type { ChargeOptions, Kind } from "./options.ts";

/** What is held for the answer when the request does not limit it. */
const usualMaxTokens = 4_096;

/** What is held for an image or a piece of audio: what the dearest ones of the large providers come to. */
const tokensOfMedia = 5_000;

/** Texts that are longer, without a blank, are no prose: images, audio and files in base64. */
const longestWord = 4_000;

/** What a call may come to, before it is made. */
export interface Estimate {
  /** The prompt's tokens. */
  inputTokens: number;
  /** What is held: those, and the most that the answer may have. */
  tokens: number;
}

/** An estimate from the request's parameters, as any of the SDKs has them. */
export function estimate(kind: Kind, request: Record<string, unknown>, options: ChargeOptions): Estimate {
  const inputTokens = inputOf(request);
  const { tokens = estimated } = options;
  return { inputTokens, tokens: Math.max(1, typeof tokens === "function" ? tokens(request) : tokens) };

  function estimated(): number {
    const answers = whole(request["n"]) ?? 1;
    if (kind === "embedding") return inputTokens;
    if (kind !== "chat") return inputTokens + answers * tokensOfMedia;
    const limits = ["max_completion_tokens", "max_output_tokens", "max_tokens", "maxOutputTokens"];
    const limit = limits.map((name) => whole(request[name])).find((it) => it !== undefined);
    return inputTokens + answers * (limit ?? options.defaultMaxTokens ?? usualMaxTokens);
  }
}

/** A token for every four bytes of what the model reads; an image or a file counts as one of a fixed size. */
function inputOf(request: Record<string, unknown>): number {
  let media = 0;
  const names = [
    "messages",
    "input",
    "system",
    "instructions",
    "prompt",
    "tools",
    "response_format",
    "responseFormat",
  ];
  const read = names.map((name) => request[name]).filter((it) => it !== undefined);
  const json = JSON.stringify(read, (_, value: unknown) => {
    const isMedia =
      ArrayBuffer.isView(value) ||
      (typeof value === "string" && value.length > longestWord && !/\s/.test(value));
    media += isMedia ? 1 : 0;
    return isMedia ? "" : value;
  });
  return tokensInBytes(bytesOf(json)) + media * tokensOfMedia;
}

function whole(value: unknown): number | undefined {
  return Number.isInteger(value) && (value as number) > 0 ? (value as number) : undefined;
}
