/* The wrappers of `tokenbook/ai` around each SDK, as the compiler sees them: what goes in comes out. */
import Anthropic from "@anthropic-ai/sdk";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { createClient } from "@supabase/supabase-js";
import { type LanguageModel, streamText, wrapLanguageModel } from "ai";
import OpenAI from "openai";
import { chargeAnthropic, chargeOpenAI, tokenBudget, tokenMiddleware } from "tokenbook/ai";

export async function models(url: string, key: string, userId: string) {
  const books = createClient(url, key);
  const budget = await tokenBudget(books, { userId, tokens: 1_000 });
  const options = { userId, parentHold: budget.holdId };
  const openai: OpenAI = chargeOpenAI(new OpenAI(), books, options);
  const anthropic: Anthropic = chargeAnthropic(new Anthropic(), books, options);
  const model: LanguageModel = wrapLanguageModel({
    model: createOpenAICompatible({ name: "local", baseURL: url })("tides"),
    middleware: tokenMiddleware(books, options),
  });
  // @ts-expect-error somebody has to pay
  tokenMiddleware(books, {});
  return { openai, anthropic, text: streamText({ model, prompt: "When does the tide come in?" }).textStream };
}
