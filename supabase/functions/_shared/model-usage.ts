/**
 * What a call of a model used, in the words of the provider that reports it: OpenAI (chat completions, responses, embeddings,
 * images, audio), Anthropic, Gemini, Grok, Mistral, DeepSeek, OpenRouter, Ollama, the AI SDK.
 *
 * Providers say it in pieces, or twice, or not at all. Pieces are put together field by field; a zero does not take
 * back a number; and where a number is missing, the text that was sent or received is counted instead.
 */
import type { Usage } from "./hold-books.ts";

/** Bytes of UTF-8 that one token stands for, roughly: English prose has some more, code and Chinese less. */
const bytesPerToken = 4;

/** The estimate: a token for every four bytes of UTF-8, rounded up. */
export function tokensInBytes(bytes: number): number {
  return Math.ceil(bytes / bytesPerToken);
}

/** How long the text is in UTF-8. */
export function bytesOf(text: string): number {
  return new TextEncoder().encode(text).length;
}

/** Tokens and other counts of one call; what is cached or reasoned is part of the whole. */
export type Counts = Pick<
  Usage,
  "inputTokens" | "outputTokens" | "cachedTokens" | "reasoningTokens" | "images" | "seconds"
>;

/** The numbers as they were reported, before it is known what is part of what. */
interface Reported {
  input?: number;
  output?: number;
  cached?: number;
  /** Written to a cache: beside the input. */
  cacheWritten?: number;
  reasoning?: number;
  total?: number;
  /** That the cache is beside the input, and the reasoning beside the output, by this provider's rules. */
  cacheIsBeside?: boolean;
  reasoningIsBeside?: boolean;
  images?: number;
  seconds?: number;
}

/** What one call used, while its answer comes in. */
export class Meter {
  readonly #asked: { model: string | undefined; inputTokens: number };
  #reported: Reported = {};
  #model: string | undefined;
  #textBytes = 0;

  /** @param asked the model that was asked for, and an estimate of the prompt's tokens */
  constructor(asked: { model: string | undefined; inputTokens: number }) {
    this.#asked = asked;
  }

  /** Takes notice of an answer, or of one event of it. */
  read(answer: unknown): void {
    const it = fields(answer);
    this.#reported = merged(this.#reported, reportedIn(it));
    this.#textBytes += bytesIn(it);
    const models = [
      it["model"],
      it["modelVersion"],
      fields(it["message"])["model"],
      fields(it["response"])["model"],
    ];
    this.#model ??= models.find((model) => typeof model === "string" && isModelName(model)) as
      | string
      | undefined;
  }

  /** Everything so far. `metadata.counted_by` says whether a provider counted the tokens or we did. */
  usage(): Usage {
    const counts = countsOf(this.#reported);
    const model = this.#asked.model ?? this.#model;
    const what = { ...(model !== undefined && { model }) };
    const { images, seconds } = counts;
    const isCounted = (counts.inputTokens ?? 0) > 0 || (counts.outputTokens ?? 0) > 0;
    if (!isCounted && (images !== undefined || seconds !== undefined)) {
      // images and audio have their own measure: without tokens, the action's price or the hold says what they cost
      return {
        ...what,
        ...(images !== undefined && { images }),
        ...(seconds !== undefined && { seconds }),
        metadata: { counted_by: "provider" },
      };
    }
    const hasInput = (counts.inputTokens ?? 0) > 0; // nobody asks without a prompt
    const hasOutput = (counts.outputTokens ?? 0) > 0 || this.#textBytes === 0;
    return {
      ...what,
      ...counts,
      inputTokens: hasInput ? counts.inputTokens! : this.#asked.inputTokens,
      outputTokens: hasOutput ? (counts.outputTokens ?? 0) : tokensInBytes(this.#textBytes),
      ...(!hasInput && { cachedTokens: undefined }),
      metadata: { counted_by: isCounted && hasInput && hasOutput ? "provider" : "estimate" },
    };
  }
}

/**
 * What a provider's `usage` says: the counts that can be.
 *
 * With OpenAI and most others the input has the cached tokens in it and the output the reasoning. Some count either
 * beside (Gemini and Grok the reasoning, Anthropic the cache). Names tell, or `total_tokens` does; without either a
 * part that is larger than its whole.
 */
export function countsIn(usage: unknown): Counts {
  return countsOf(reportedBy(fields(usage)));
}

function countsOf(it: Reported): Counts {
  const { cached = 0, cacheWritten = 0, reasoning = 0, total, images, seconds } = it;
  const rest = { ...(images !== undefined && { images }), ...(seconds !== undefined && { seconds }) };
  let { input, output } = it;
  if (input === undefined && output === undefined) return rest;
  output ??= Math.max((total ?? input!) - input!, 0); // an embedding has none
  if (input === undefined) return { outputTokens: output, ...rest };
  const beside = it.cacheIsBeside
    ? { cached: true, reasoning: reasoning > output }
    : it.reasoningIsBeside
      ? { cached: cached > input, reasoning: true }
      : whatIsBeside(input, output, cached, reasoning, total);
  return {
    inputTokens: input + (beside.cached ? cached : 0) + (it.cacheIsBeside ? cacheWritten : 0),
    outputTokens: output + (beside.reasoning ? reasoning : 0),
    ...(cached > 0 && { cachedTokens: cached }),
    ...(reasoning > 0 && { reasoningTokens: reasoning }),
    ...rest,
  };
}

/** Which parts are to be added to their wholes. What cannot be told from the total is part of it. */
function whatIsBeside(
  prompt: number,
  completion: number,
  cached: number,
  reasoning: number,
  total: number | undefined,
): { cached: boolean; reasoning: boolean } {
  const must = { cached: cached > prompt, reasoning: reasoning > completion };
  const ways = [false, true].flatMap((a) => [false, true].map((b) => ({ cached: a, reasoning: b })));
  const fitting = ways.find(
    (way) =>
      way.cached >= must.cached &&
      way.reasoning >= must.reasoning &&
      prompt + completion + (way.cached ? cached : 0) + (way.reasoning ? reasoning : 0) === total,
  );
  return fitting ?? must;
}

/** The later report, where it says something: a zero at the end does not take back a number. */
function merged(before: Reported, later: Reported): Reported {
  const said = Object.entries(later).filter(
    ([name, value]) => value !== undefined && !(value === 0 && (before[name as keyof Reported] ?? 0) !== 0),
  );
  return { ...before, ...Object.fromEntries(said) };
}

/** What an answer, or an event of one, reports: wherever its provider puts it. */
function reportedIn(it: Record<string, unknown>): Reported {
  const begun = reportedBy(fields(fields(it["message"])["usage"]));
  delete begun.output; // Anthropic's first event: what the answer has so far, which is next to nothing
  const whole = [
    it["usageMetadata"],
    fields(it["x_groq"])["usage"],
    fields(it["response"])["usage"],
    it["usage"],
  ];
  const reported = whole.reduce<Reported>((sum, one) => merged(sum, reportedBy(fields(one))), begun);
  const ollama = reportedBy({ prompt_tokens: it["prompt_eval_count"], completion_tokens: it["eval_count"] });
  const pictures = [it["data"], it["images"]].find(isListOfImages)?.length;
  const seconds = duration(it["duration"] ?? it["durationInSeconds"]);
  return {
    ...merged(ollama, reported),
    ...(pictures !== undefined && { images: pictures }),
    ...(seconds !== undefined && reported.seconds === undefined && { seconds }),
  };
}

function reportedBy(it: Record<string, unknown>): Reported {
  const input = fields(it["inputTokens"]); // of the AI SDK from version 6 on
  const output = fields(it["outputTokens"]);
  const cacheRead = count(it["cache_read_input_tokens"] ?? it["cacheReadInputTokens"]);
  const cacheWritten = count(it["cache_creation_input_tokens"] ?? it["cacheWriteInputTokens"]);
  const total = count(it["total_tokens"] ?? it["totalTokens"] ?? it["totalTokenCount"]);
  const isAnthropic = it["input_tokens"] !== undefined && total === undefined;
  const toolPrompt = count(it["toolUsePromptTokenCount"]) ?? 0;
  const prompt = first(
    it["prompt_tokens"],
    it["input_tokens"],
    input["total"],
    it["inputTokens"],
    it["promptTokens"],
    it["promptTokenCount"],
    it["tokens"], // an embedding of the AI SDK
  );
  const all: Reported = {
    input: prompt === undefined ? undefined : prompt + toolPrompt,
    output: first(
      it["completion_tokens"],
      it["output_tokens"],
      output["total"],
      it["outputTokens"],
      it["completionTokens"],
      it["candidatesTokenCount"],
    ),
    cached: first(
      fields(it["prompt_tokens_details"] ?? it["input_tokens_details"])["cached_tokens"],
      it["prompt_cache_hit_tokens"],
      input["cacheRead"],
      it["cachedInputTokens"],
      it["cachedContentTokenCount"],
      cacheRead,
    ),
    cacheWritten,
    reasoning: first(
      fields(it["completion_tokens_details"] ?? it["output_tokens_details"])["reasoning_tokens"],
      output["reasoning"],
      it["reasoningTokens"],
      it["thoughtsTokenCount"],
    ),
    total,
    cacheIsBeside: (isAnthropic && (cacheRead ?? cacheWritten) !== undefined) || undefined,
    reasoningIsBeside: it["thoughtsTokenCount"] !== undefined || undefined,
    images: count(it["images"]),
    seconds: duration(it["seconds"] ?? it["prompt_audio_seconds"]),
  } as Reported;
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

/** Bytes of what the model wrote: its answer, its reasoning, the arguments of tools that it calls. */
function bytesIn(it: Record<string, unknown>): number {
  const type = typeof it["type"] === "string" && it["type"] !== "message" ? it["type"] : undefined;
  if (type === undefined) return spoken(it, 0);
  if (!/[._-]delta$/.test(type) || type.endsWith("audio.delta")) return 0; // other events repeat what came in pieces
  return spoken(it["delta"], 0);
}

/** Members that are text of the model's, and members in which such text lies. */
const texts = [
  "content",
  "text",
  "thinking",
  "refusal",
  "arguments",
  "partial_json",
  "transcript",
  "input",
  "args",
];
const places = [
  "choices",
  "delta",
  "message",
  "candidates",
  "parts",
  "output",
  "summary",
  "tool_calls",
  "function",
];

function spoken(value: unknown, depth: number): number {
  if (typeof value === "string") return bytesOf(value);
  if (depth > 12) return 0;
  if (Array.isArray(value)) return value.reduce<number>((sum, one) => sum + spoken(one, depth + 1), 0);
  const it = fields(value);
  const sumOf = (names: string[], isText: boolean) =>
    names.reduce((sum, name) => {
      const member = it[name];
      if (typeof member === "string" && !isText && name !== "delta") return sum;
      return sum + (member === undefined ? 0 : spoken(member, depth + 1));
    }, 0);
  const call = it["functionCall"] === undefined ? 0 : bytesOf(JSON.stringify(it["functionCall"]));
  const input = ["tool_use", "tool-call"].includes(String(it["type"]))
    ? bytesOf(JSON.stringify(it["input"] ?? ""))
    : 0;
  const thought = it["reasoning_content"] ?? it["reasoning"];
  return (
    sumOf(input > 0 ? texts.filter((name) => name !== "input") : texts, true) +
    sumOf(places, false) +
    call +
    input +
    (typeof thought === "string" ? bytesOf(thought) : 0)
  );
}

/** The most that can be believed of one call. */
const most = 1_000_000_000;

function count(value: unknown): number | undefined {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most
    ? (value as number)
    : undefined;
}

function first(...values: unknown[]): number | undefined {
  return values.map(count).find((it) => it !== undefined);
}

function duration(value: unknown): number | undefined {
  const seconds = typeof value === "string" && value !== "" ? Number(value) : value;
  return typeof seconds === "number" && seconds >= 0 && seconds <= 1_000_000 ? seconds : undefined;
}

function isListOfImages(value: unknown): value is unknown[] {
  return (
    Array.isArray(value) &&
    value.length > 0 &&
    value.every((it) => fields(it)["b64_json"] !== undefined || fields(it)["url"] !== undefined)
  );
}

const isModelName = (text: string) => /^\S+$/.test(text) && !text.includes("\0") && bytesOf(text) <= 200;

/** The value's members; none when it is no object. */
export function fields(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
