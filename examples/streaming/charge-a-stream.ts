/*
 * What a stream costs, however it ends. With `npm start` running in another terminal:
 *
 *   node --env-file=.env.local --import tsx examples/streaming/charge-a-stream.ts
 *
 * output.txt is what it prints.
 */
import { createClient } from "@supabase/supabase-js";
import ws from "ws";
import {
  CallAlreadyMadeError,
  type HoldOptions,
  streamWithTokenHold,
  TokensShortError,
  withTokenHold,
} from "../../supabase/functions/_shared/token-hold.ts";
import { ask, type Trouble } from "./model.ts";

const { SUPABASE_URL, SUPABASE_SECRET_KEY } = process.env;
if (!SUPABASE_URL || !SUPABASE_SECRET_KEY) throw new Error("set SUPABASE_URL and SUPABASE_SECRET_KEY");

const supabase = createClient(SUPABASE_URL, SUPABASE_SECRET_KEY, {
  auth: { persistSession: false },
  realtime: { transport: ws as never }, // Node 20 has no WebSocket
});

// A user of its own, with 1,000 tokens on top of what the project gives to new users.
const email = `streams-${crypto.randomUUID()}@example.com`;
const { data: created } = await supabase.auth.admin.createUser({ email, email_confirm: true });
const userId = created.user!.id;
await supabase.rpc("grant_tokens", { p_user_id: userId, p_tokens: 1_000, p_grant_type: "trial" });

const options: HoldOptions = {
  userId,
  tokens: 200, // the most that it is expected to use
  actionType: "chat_conversation",
  ttlSeconds: 60, // should this process die, they are back after a minute
};

/** Streams one answer to a reader who may leave after some words, and prints what came of it. */
async function stream(
  title: string,
  more: Partial<HoldOptions> = {},
  trouble: Trouble = {},
  leavesAfter = Infinity,
) {
  const { stream: answer, ended } = await streamWithTokenHold(
    supabase,
    { ...options, ...more },
    async (hold) => ask(hold, trouble),
  );
  let heard = "";
  const reader = answer.getReader();
  try {
    for (let words = 0; words < leavesAfter; words++) {
      const { done, value } = await reader.read();
      if (done) break;
      heard += value;
    }
    await reader.cancel();
  } catch {
    heard += " …";
  }
  const { outcome, receipt } = await ended; // only to print it: nothing else has to wait for it
  const { tokensHeld, tokensDeducted, tokensUncovered } = receipt!;
  console.log(`${title}\n  "${heard}"`);
  console.log(`  ${outcome}: held ${tokensHeld}, charged ${tokensDeducted}, not covered ${tokensUncovered}`);
}

await stream("It comes to its end.");
await stream("The reader leaves after three words.", {}, {}, 3);
await stream("The model breaks off: that costs nothing.", {}, { breaksAt: 4 });
await stream("… unless you say so.", { charge: { failed: "reported" } }, { breaksAt: 4 });
await stream("It takes too long.", { timeoutMs: 500 }, { stallsAt: 2 });
await stream("It used more than was held: the rest is taken too.", { tokens: 50 });
await stream("… or not.", { tokens: 50, onOverrun: "cap" });

console.log("A call without a stream.");
const { value, receipt } = await withTokenHold(
  supabase,
  { ...options, idempotencyKey: "one" },
  async (hold) => {
    hold.report({ model: "example-model", inputTokens: 12, outputTokens: 3 });
    return "Twice.";
  },
);
console.log(`  "${value}"\n  ${receipt.outcome}: charged ${receipt.tokensDeducted}`);

console.log("The same request again.");
await withTokenHold(supabase, { ...options, idempotencyKey: "one" }, async () => "Twice.").catch((error) => {
  if (!(error instanceof CallAlreadyMadeError)) throw error;
  console.log(`  ${error.name}: ${error.message}`);
});

console.log("More than there is.");
await withTokenHold(supabase, { ...options, tokens: 1_000_000 }, async () => "Never.").catch((error) => {
  if (!(error instanceof TokensShortError)) throw error;
  console.log(`  ${error.name}: ${error.required} needed, the model was not asked`);
});

const { data: balance } = await supabase.rpc("get_user_token_balance", { p_user_id: userId });
const { data: history } = await supabase.rpc("get_token_history", { p_user_id: userId, p_limit: 200 });
const charged = history.transactions.filter((it: { entry_type: string }) => it.entry_type === "deduction");
const sum = charged.reduce((total: number, it: { tokens: number }) => total - it.tokens, 0);
console.log(`In the end: ${charged.length} deductions, ${sum} tokens; still held: ${balance.total_reserved}`);
