import { describe, expect, test } from "vitest";
import { bytesOf, countsOf, tokensInBytes } from "../../../supabase/functions/ai-chat/usage.ts";

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
    expect(countsOf(usage)).toEqual({
      inputTokens,
      outputTokens,
      ...(cachedTokens !== undefined && { cachedTokens }),
      ...(reasoningTokens !== undefined && { reasoningTokens }),
    });
  });

  test.each([
    [null],
    [undefined],
    ["many"],
    [{}],
    [{ prompt_tokens: 20 }],
    [{ prompt_tokens: -1, completion_tokens: 1 }],
    [{ prompt_tokens: 1.5, completion_tokens: 1 }],
    [{ prompt_tokens: "20", completion_tokens: 1 }],
    [{ prompt_tokens: 1e300, completion_tokens: 1 }],
  ])("cannot be %j", (usage) => {
    expect(countsOf(usage)).toBeUndefined();
  });
});

test("the estimate is a token for every four bytes of UTF-8, rounded up", () => {
  expect(["", "a", "four", "fours", "日本語"].map((it) => tokensInBytes(bytesOf(it)))).toEqual([
    0, 1, 1, 2, 3,
  ]);
});
