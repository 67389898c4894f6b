import { describe, expect, test } from "vitest";
import { bytesOf, countsIn, Meter, tokensInBytes } from "../../../supabase/functions/_shared/model-usage.ts";

describe("what a provider counts", () => {
  test.each([
    ["plain", { prompt_tokens: 20, completion_tokens: 10, total_tokens: 30 }, [20, 10]],
    ["without a total", { prompt_tokens: 20, completion_tokens: 10 }, [20, 10]],
    ["under other names", { input_tokens: 20, output_tokens: 10 }, [20, 10]],
    [
      "cached and reasoned within",
      {
        prompt_tokens: 20,
        completion_tokens: 10,
        total_tokens: 30,
        prompt_tokens_details: { cached_tokens: 15 },
        completion_tokens_details: { reasoning_tokens: 4 },
      },
      [20, 10, 15, 4],
    ],
    [
      "reasoned beside, by the total",
      {
        prompt_tokens: 20,
        completion_tokens: 10,
        total_tokens: 34,
        completion_tokens_details: { reasoning_tokens: 4 },
      },
      [20, 14, undefined, 4],
    ],
    [
      "reasoned beside, being more than the whole",
      { prompt_tokens: 20, completion_tokens: 10, completion_tokens_details: { reasoning_tokens: 90 } },
      [20, 100, undefined, 90],
    ],
    [
      "cached beside, by the total",
      { prompt_tokens: 20, completion_tokens: 10, total_tokens: 45, cache_read_input_tokens: 15 },
      [35, 10, 15],
    ],
    [
      "cached beside, being more than the whole",
      { prompt_tokens: 20, completion_tokens: 10, cache_read_input_tokens: 500 },
      [520, 10, 500],
    ],
    [
      "cached as DeepSeek says it",
      { prompt_tokens: 20, completion_tokens: 10, prompt_cache_hit_tokens: 8 },
      [20, 10, 8],
    ],
    ["a total that fits nothing", { prompt_tokens: 20, completion_tokens: 10, total_tokens: 77 }, [20, 10]],
    ["nothing at all", { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 }, [0, 0]],
  ])("%s", (_, usage, [inputTokens, outputTokens, cachedTokens, reasoningTokens]) => {
    expect(countsIn(usage)).toEqual({
      inputTokens,
      outputTokens,
      ...(cachedTokens !== undefined && { cachedTokens }),
      ...(reasoningTokens !== undefined && { reasoningTokens }),
    });
  });

  test.each([
    null,
    undefined,
    "many",
    {},
    { prompt_tokens: -1 },
    { completion_tokens: 1.5 },
    { prompt_tokens: "20" },
  ])("cannot be %j", (usage) => expect(countsIn(usage)).toEqual({}));
});

/** What a call comes to that read these: input, output, cached, reasoning, images, seconds, and who counted. */
function metered(...read: unknown[]) {
  const meter = new Meter({ model: "asked", inputTokens: 5 });
  for (const it of read) meter.read(it);
  const { inputTokens, outputTokens, cachedTokens, reasoningTokens, images, seconds, metadata } =
    meter.usage();
  const counts = { inputTokens, outputTokens, cachedTokens, reasoningTokens, images, seconds };
  const known = Object.entries(counts).filter(([, value]) => value !== undefined);
  return { ...Object.fromEntries(known), by: metadata!["counted_by"] };
}

describe("what a call used, from", () => {
  const by = "provider";
  const twelve = "twelve bytes"; // three tokens
  const word = { choices: [{ delta: { content: twelve } }] };

  test.each<[string, unknown[], object]>([
    [
      "a chat completion",
      [{ choices: [{ message: { content: twelve } }], usage: { prompt_tokens: 20, completion_tokens: 10 } }],
      { inputTokens: 20, outputTokens: 10, by },
    ],
    [
      "a response",
      [
        {
          output: [{ type: "message", content: [{ type: "output_text", text: twelve }] }],
          usage: {
            input_tokens: 20,
            input_tokens_details: { cached_tokens: 8 },
            output_tokens: 10,
            output_tokens_details: { reasoning_tokens: 4 },
            total_tokens: 30,
          },
        },
      ],
      { inputTokens: 20, outputTokens: 10, cachedTokens: 8, reasoningTokens: 4, by },
    ],
    [
      "a streamed response",
      [
        { type: "response.output_text.delta", delta: twelve },
        { type: "response.output_text.done", text: twelve },
        {
          type: "response.completed",
          response: { usage: { input_tokens: 20, output_tokens: 10, total_tokens: 30 } },
        },
      ],
      { inputTokens: 20, outputTokens: 10, by },
    ],
    [
      "embeddings",
      [{ data: [{ embedding: [0.5] }], usage: { prompt_tokens: 20, total_tokens: 20 } }],
      { inputTokens: 20, outputTokens: 0, by },
    ],
    [
      "images that are counted in tokens",
      [{ data: [{ b64_json: "" }], usage: { input_tokens: 20, output_tokens: 1_000, total_tokens: 1_020 } }],
      { inputTokens: 20, outputTokens: 1_000, images: 1, by },
    ],
    ["images that are not", [{ data: [{ url: "" }, { url: "" }] }], { images: 2, by }],
    [
      "a transcription by its length",
      [{ text: twelve, usage: { type: "duration", seconds: 9 } }],
      { seconds: 9, by },
    ],
    ["a verbose transcription", [{ text: twelve, duration: "8.5" }], { seconds: 8.5, by }],
    [
      "a message of Anthropic's, whose cache is beside",
      [
        {
          type: "message",
          content: [{ type: "text", text: twelve }],
          usage: {
            input_tokens: 20,
            cache_creation_input_tokens: 100,
            cache_read_input_tokens: 7,
            output_tokens: 10,
          },
        },
      ],
      { inputTokens: 127, outputTokens: 10, cachedTokens: 7, by },
    ],
    [
      "Anthropic's stream, the input in its first event and the output in its last",
      [
        {
          type: "message_start",
          message: { usage: { input_tokens: 20, cache_read_input_tokens: 7, output_tokens: 1 } },
        },
        { type: "content_block_delta", delta: { type: "text_delta", text: twelve } },
        { type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: 10 } },
      ],
      { inputTokens: 27, outputTokens: 10, cachedTokens: 7, by },
    ],
    [
      "Anthropic's stream that broke off: the first event's output is not the answer's",
      [
        { type: "message_start", message: { usage: { input_tokens: 20, output_tokens: 1 } } },
        { type: "content_block_delta", delta: { type: "text_delta", text: twelve } },
      ],
      { inputTokens: 20, outputTokens: 3, by: "estimate" },
    ],
    [
      "Gemini, whose thoughts and tool prompts are beside",
      [
        {
          candidates: [{ content: { parts: [{ text: twelve }] } }],
          usageMetadata: {
            promptTokenCount: 20,
            toolUsePromptTokenCount: 3,
            cachedContentTokenCount: 8,
            candidatesTokenCount: 10,
            thoughtsTokenCount: 4,
            totalTokenCount: 37,
          },
        },
      ],
      { inputTokens: 23, outputTokens: 14, cachedTokens: 8, reasoningTokens: 4, by },
    ],
    [
      "the AI SDK, version 6",
      [
        {
          type: "finish",
          usage: {
            inputTokens: { total: 20, noCache: 12, cacheRead: 8 },
            outputTokens: { total: 10, text: 6, reasoning: 4 },
          },
        },
      ],
      { inputTokens: 20, outputTokens: 10, cachedTokens: 8, reasoningTokens: 4, by },
    ],
    [
      "the AI SDK, version 5",
      [
        {
          usage: {
            inputTokens: 20,
            outputTokens: 10,
            totalTokens: 30,
            cachedInputTokens: 8,
            reasoningTokens: 4,
          },
        },
      ],
      { inputTokens: 20, outputTokens: 10, cachedTokens: 8, reasoningTokens: 4, by },
    ],
    [
      "Groq's last event",
      [{ x_groq: { usage: { prompt_tokens: 20, completion_tokens: 10 } } }],
      { inputTokens: 20, outputTokens: 10, by },
    ],
    [
      "Ollama",
      [{ message: { content: twelve }, prompt_eval_count: 20, eval_count: 10 }],
      { inputTokens: 20, outputTokens: 10, by },
    ],
    [
      "a stream whose last frame is of zeros",
      [
        word,
        { usage: { prompt_tokens: 20, completion_tokens: 10 } },
        { usage: { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 } },
      ],
      { inputTokens: 20, outputTokens: 10, by },
    ],
    [
      "frames that have one number each",
      [word, { usage: { prompt_tokens: 20 } }, { usage: { completion_tokens: 10 } }],
      { inputTokens: 20, outputTokens: 10, by },
    ],
    [
      "a count of zero with text: the text",
      [word, { usage: { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 } }],
      { inputTokens: 5, outputTokens: 3, by: "estimate" },
    ],
    [
      "the calls of tools",
      [{ choices: [{ delta: { tool_calls: [{ function: { arguments: twelve } }] } }] }],
      { inputTokens: 5, outputTokens: 3, by: "estimate" },
    ],
    [
      "reasoning that is streamed",
      [{ choices: [{ delta: { reasoning_content: twelve, reasoning: twelve } }] }],
      { inputTokens: 5, outputTokens: 3, by: "estimate" },
    ],
    ["nothing at all", [], { inputTokens: 5, outputTokens: 0, by: "estimate" }],
    [
      "numbers that cannot be",
      [word, { usage: { prompt_tokens: -5, completion_tokens: 1e300, total_tokens: "many" } }],
      { inputTokens: 5, outputTokens: 3, by: "estimate" },
    ],
  ])("%s", (_, read, expected) => {
    expect(metered(...read)).toEqual(expected);
  });

  test("an answer names its model where the question did not", () => {
    const meter = new Meter({ model: undefined, inputTokens: 5 });
    meter.read({ type: "message_start", message: { model: "claude-x" } });
    expect(meter.usage().model).toBe("claude-x");
  });
});

test("the estimate is a token for every four bytes of UTF-8, rounded up", () => {
  expect(["", "a", "four", "fours", "日本語"].map((it) => tokensInBytes(bytesOf(it)))).toEqual([
    0, 1, 1, 2, 3,
  ]);
});
