/*
 * Calls of a model by three SDKs, each paid for by a user. With `npm start` running in another terminal:
 *
 *   node --env-file=.env.local --import tsx examples/ai/charge-calls.ts
 *
 * output.txt is what it prints. In your own project the import below is from "tokenbook/ai".
 */
import Anthropic from "@anthropic-ai/sdk";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { createClient } from "@supabase/supabase-js";
import { generateText, wrapLanguageModel } from "ai";
import OpenAI from "openai";
import ws from "ws";
import {
  chargeAnthropic,
  chargeOpenAI,
  type ChargeOptions,
  tokenBudget,
  tokenMiddleware,
} from "../../packages/tokenbook/src/ai/index.ts";
import { startModel } from "./model-server.ts";

const { SUPABASE_URL, SUPABASE_SECRET_KEY } = process.env;
if (!SUPABASE_URL || !SUPABASE_SECRET_KEY) throw new Error("set SUPABASE_URL and SUPABASE_SECRET_KEY");

const books = createClient(SUPABASE_URL, SUPABASE_SECRET_KEY, {
  auth: { persistSession: false },
  realtime: { transport: ws as never }, // Node 20 has no WebSocket
});

// A user of its own, with 1,000 tokens on top of what the project gives to new users.
const email = `calls-${crypto.randomUUID()}@example.com`;
const { data: created } = await books.auth.admin.createUser({ email, email_confirm: true });
const userId = created.user!.id;
await books.rpc("grant_tokens", { p_user_id: userId, p_tokens: 1_000, p_grant_type: "trial" });

const model = await startModel();
const messages = [{ role: "user" as const, content: "When does the tide come in?" }];
const options: ChargeOptions = {
  userId,
  defaultMaxTokens: 100,
  onSettled: ({ outcome, receipt }) => console.log(`  ${outcome}: charged ${receipt?.tokensDeducted}`),
};

console.log("OpenAI's SDK");
const plain = new OpenAI({ baseURL: `${model.url}/v1`, apiKey: "none" });
const openai = chargeOpenAI(plain, books, options);
await openai.chat.completions.create({ model: "tides", messages });

console.log("… as a stream");
for await (const _ of await openai.chat.completions.create({ model: "tides", messages, stream: true }));

console.log("Anthropic's SDK");
const anthropic = chargeAnthropic(new Anthropic({ baseURL: model.url, apiKey: "none" }), books, options);
await anthropic.messages.create({ model: "tides", max_tokens: 100, messages });

console.log("The AI SDK");
const tides = createOpenAICompatible({ name: "local", baseURL: `${model.url}/v1` })("tides");
await generateText({
  model: wrapLanguageModel({ model: tides, middleware: tokenMiddleware(books, options) }),
  prompt: "When does the tide come in?",
});

console.log("More than there is");
try {
  await openai.chat.completions.create({ model: "tides", messages, max_tokens: 1_000_000 });
} catch (error) {
  if (!(error instanceof OpenAI.APIError)) throw error;
  console.log(`  ${error.status} ${error.code}: the model was not asked`);
}

console.log("Ten calls at once, with a budget of 300 tokens");
const budget = await tokenBudget(books, { userId: options.userId, tokens: 300 });
// the model waits until each of the ten was let through or refused, so that this prints the same every time
let decided = 0;
let goOn = () => {};
const allAreDecided = new Promise<void>((resolve) => (goOn = resolve));
const decide = () => void (++decided === 10 && goOn());
const waiting = new OpenAI({
  baseURL: `${model.url}/v1`,
  apiKey: "none",
  fetch: async (...request) => {
    decide();
    await allAreDecided;
    return fetch(...request);
  },
});
const task = chargeOpenAI(waiting, books, {
  ...options,
  tokens: 80,
  parentHold: budget.holdId,
  onSettled: () => {},
});
const calls = Array.from({ length: 10 }, async () => {
  try {
    await task.chat.completions.create({ model: "tides", messages });
    return 1;
  } catch {
    decide();
    return 0;
  }
});
const answered = (await Promise.all(calls)).reduce((sum: number, one) => sum + one, 0);
const { tokensUsed } = await budget.end();
console.log(`  answered ${answered}, charged ${tokensUsed} of ${budget.tokens}`);

model.close();
