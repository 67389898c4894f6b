/*
 * The server of a chat as an app has it, with the packed `tokenbook/ai`: answers the turns that its argument lists,
 * eight at a time, and says on a line each what its users see.
 */
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { createClient } from "@supabase/supabase-js";
import { streamText, wrapLanguageModel } from "ai";
import { tokenMiddleware } from "tokenbook/ai";

globalThis.WebSocket ??= Object; // Node 20 has none, and supabase-js wants one to be there
const { SUPABASE_URL, SUPABASE_SECRET_KEY, MODEL_URL, PATIENCE = "{}" } = process.env;
const books = createClient(SUPABASE_URL, SUPABASE_SECRET_KEY, { auth: { persistSession: false } });
const provider = createOpenAICompatible({ name: "local", baseURL: `${MODEL_URL}/v1`, includeUsage: true });
const say = (line) => console.log(JSON.stringify(line));

const charging = (userId, key) =>
  tokenMiddleware(books, {
    userId,
    patience: JSON.parse(PATIENCE),
    onSettled: ({ outcome, notSettled }) => say({ key, outcome, notSettled: notSettled?.usage }),
  });

async function answer({ userId, key, model }) {
  const errors = [];
  const { textStream } = streamText({
    model: wrapLanguageModel({ model: provider(model), middleware: charging(userId, key) }),
    prompt: "When does the tide come in?",
    headers: { "Idempotency-Key": key },
    maxOutputTokens: 100,
    maxRetries: 0,
    onError: ({ error }) => void errors.push(error),
  });
  try {
    for await (const word of textStream) say({ key, word });
  } catch (error) {
    errors.push(error);
  }
  const [error] = errors;
  say({ key, end: error === undefined ? "answered" : (error.code ?? "failed"), status: error?.holdStatus });
}

const turns = JSON.parse(process.argv[2]);
say({ ready: true });
await Promise.all(
  Array.from({ length: 8 }, async () => {
    for (let turn = turns.shift(); turn !== undefined; turn = turns.shift()) await answer(turn);
  }),
);
