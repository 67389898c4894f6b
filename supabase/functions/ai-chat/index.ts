/// <reference types="npm:@supabase/functions-js@2.119.1/src/edge-runtime.d.ts" />
/**
 * POST /functions/v1/ai-chat (and anything below it, so that it can be an OpenAI client's base URL)
 *   { model, messages, max_tokens, … }, as OpenAI's chat completions take it; texts and tools only
 *   { model, input, … } below /embeddings, as OpenAI's embeddings take it
 *
 * For a signed-in user. Passes on the answer of the server at AI_BASE_URL, as a stream unless `stream` is false, and charges the user for what
 * that reports: tokens are held before, paid when the stream ends, however it ends, and what was held
 * beyond that goes back. Short of tokens: 402, under a spend cap: 429, and the model is not asked.
 * docs/guides/charging-for-a-streaming-call.md tells the rest.
 */
import { endpoint } from "../_shared/endpoint.ts";
import { gate } from "../_shared/gate.ts";
import { chat } from "./chat.ts";

/** A long conversation is larger than what other functions take. */
const maxBytes = 512 * 1024;

export default {
  fetch: endpoint({ POST: gate("user", chat) }, maxBytes),
};
