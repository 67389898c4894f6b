/** How many tokens a call used: as the provider counts them, or estimated where it does not. */

/** Tokens of one call; what is cached or reasoned is part of the whole. */
export interface Counts {
  inputTokens: number;
  outputTokens: number;
  cachedTokens?: number;
  reasoningTokens?: number;
}

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

/**
 * What a provider's `usage` says; undefined when it says nothing that can be.
 *
 * With OpenAI and most others `prompt_tokens` has the cached tokens in it and `completion_tokens` the
 * reasoning. Some count either beside (Gemini and Grok the reasoning, translations of Anthropic's API the
 * cache). `total_tokens` tells which; without it a part that is larger than its whole does.
 */
export function countsOf(usage: unknown): Counts | undefined {
  const it = fields(usage);
  const prompt = count(it["prompt_tokens"] ?? it["input_tokens"]);
  const completion = count(it["completion_tokens"] ?? it["output_tokens"]);
  if (prompt === undefined || completion === undefined) return undefined;
  const cached =
    count(fields(it["prompt_tokens_details"] ?? it["input_tokens_details"])["cached_tokens"]) ??
    count(it["prompt_cache_hit_tokens"] ?? it["cache_read_input_tokens"]) ??
    0;
  const reasoning =
    count(fields(it["completion_tokens_details"] ?? it["output_tokens_details"])["reasoning_tokens"]) ?? 0;

  const beside = whatIsBeside(prompt, completion, cached, reasoning, count(it["total_tokens"]));
  return {
    inputTokens: prompt + (beside.cached ? cached : 0),
    outputTokens: completion + (beside.reasoning ? reasoning : 0),
    ...(cached > 0 && { cachedTokens: cached }),
    ...(reasoning > 0 && { reasoningTokens: reasoning }),
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

/** The most that can be believed of one call. */
const most = 1_000_000_000;

function count(value: unknown): number | undefined {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most
    ? (value as number)
    : undefined;
}

/** The value's members; none when it is no object. */
export function fields(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
