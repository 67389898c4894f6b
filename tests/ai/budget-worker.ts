/** A worker of a task: it makes calls, so many at once, until the task's budget does not reach for another. */
import { createClient } from "@supabase/supabase-js";
import OpenAI from "openai";
import ws from "ws";
import { chargeOpenAI } from "../../packages/tokenbook/src/ai/index.ts";

const [url, key, provider, userId, budget, model, parallel] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
  string,
  string,
];
const books = createClient(url, key, { realtime: { transport: ws as never } });
const openai = chargeOpenAI(new OpenAI({ baseURL: `${provider}/v1`, apiKey: "k", maxRetries: 0 }), books, {
  userId,
  parentHold: budget,
  tokens: 40,
  ttlSeconds: 60,
  onSettled: ({ receipt, notSettled }) =>
    console.log(
      receipt === undefined ? `not settled ${String(notSettled)}` : `paid ${receipt.tokensDeducted}`,
    ),
});

async function work(): Promise<void> {
  for (;;) {
    try {
      await openai.chat.completions.create({ model, messages: [{ role: "user", content: "When?" }] });
    } catch (error) {
      if (!(error instanceof OpenAI.APIError)) throw error;
      console.log(`refused ${error.status} ${error.code}`);
      if (error.status === 402 || error.status === 409) return;
    }
  }
}

console.log("ready");
await Promise.all(Array.from({ length: Number(parallel) }, work));
