import { readJson } from "../_shared/body.ts";
import type { Context } from "../_shared/database.ts";
import { check } from "../_shared/fields.ts";
import { idempotencyKey } from "../_shared/idempotency-key.ts";
import { problemBody, Refusal } from "../_shared/problem.ts";
import { callSql, refusalOf } from "../_shared/sql.ts";
import {
  CallTimedOutError,
  type HoldOptions,
  type HoldReceipt,
  NotSettledError,
  type Outcome,
  type StreamEnd,
  streamWithTokenHold,
  TokenbookError,
  withTokenHold,
} from "../_shared/token-hold.ts";
import { openCompletion, wholeAnswer } from "./completion.ts";
import { type Provider, providerSettings } from "./provider.ts";
import { Body, type Call, callOf, EmbeddingsBody, embeddingsOf } from "./request.ts";

/** How much longer than the call its hold lives: time to settle it. */
const settlingSeconds = 60;

/**
 * Answers as OpenAI would, or refuses before the model is asked: a chat completion as server-sent events or, with
 * `stream: false`, as JSON; below `/embeddings` these.
 *
 * A client that goes away cancels the stream. `request.signal` is not asked: Deno aborts it after every
 * answer, other runtimes never.
 */
export async function chat(request: Request, context: Context): Promise<Response> {
  const isEmbeddings = new URL(request.url).pathname.endsWith("/embeddings");
  const asked = await readJson(request);
  const body = isEmbeddings ? undefined : check(Body, asked);
  const embeddings = isEmbeddings ? check(EmbeddingsBody, asked) : undefined;
  const key = keyOf(request);
  const provider = providerSettings();
  const call = embeddings ? embeddingsOf(embeddings, provider) : callOf(body!, provider);
  const actionType = isEmbeddings ? "embedding" : "chat_conversation";
  const userId = context.userClaims!.id;
  // As the server: a user could release their own hold, and so take back what a running call is about to cost.
  const books = context.supabaseAdmin;

  const { tokens } = await callSql<{ tokens: number }>(books, "estimate_tokens", {
    p_user_id: userId,
    p_action_type: actionType,
    p_model_used: call.model,
    p_input_tokens: call.inputTokens,
    p_output_tokens: call.maxTokens,
  });
  const options: HoldOptions = {
    userId,
    tokens: Math.max(tokens, 1), // an action that is free is recorded all the same
    actionType,
    model: call.model,
    ttlSeconds: provider.timeoutSeconds + settlingSeconds,
    timeoutMs: provider.timeoutSeconds * 1_000,
    idempotencyKey: key,
    metadata: { model: call.model },
    describe: reasonOf,
  };
  try {
    if (!call.isStream) return await whole(books, options, provider, call);
    const { stream, ended } = await streamWithTokenHold(
      books,
      options,
      (hold) => openCompletion(provider, call, hold),
      lastEvent,
    );
    void ended.then(({ notSettled }) => notSettled && logUnsettled(notSettled));
    return new Response(stream, { headers: { "content-type": "text/event-stream; charset=utf-8" } });
  } catch (error) {
    throw refused(error);
  }
}

/** The answer in one piece, with its charge in a member of its own: every client of OpenAI's ignores it. */
async function whole(
  books: Context["supabaseAdmin"],
  options: HoldOptions,
  provider: Provider,
  call: Call,
): Promise<Response> {
  try {
    const { value, receipt } = await withTokenHold(books, options, (hold) =>
      wholeAnswer(provider, call, hold),
    );
    return Response.json({ ...value, tokenbook: costOf(receipt) });
  } catch (error) {
    if (!(error instanceof NotSettledError) || error.outcome !== "completed") throw error;
    logUnsettled(error);
    return Response.json(error.value); // the call was made: the caller gets its answer
  }
}

/** Checked here, because the books know it under a longer name. */
function keyOf(request: Request): string | undefined {
  const key = idempotencyKey(request.headers.get("idempotency-key"), undefined);
  if (key !== undefined && !/^[\w.:-]{1,200}$/.test(key)) {
    const rule = "1 to 200 characters of A-Z a-z 0-9 . _ : -";
    throw new Refusal("invalid_idempotency_key", { field: "idempotencyKey", rule });
  }
  return key;
}

const encoder = new TextEncoder();

/** What the client reads when its call has been paid for: what it cost, or why it broke off. */
function lastEvent({ outcome, receipt, error }: StreamEnd): Uint8Array<ArrayBuffer> | undefined {
  if (outcome === "aborted") return undefined;
  if (outcome === "completed") {
    const cost = receipt && costOf(receipt);
    // a comment: every client of OpenAI's ignores it
    return encoder.encode(`${cost ? `: tokenbook ${JSON.stringify(cost)}\n\n` : ""}data: [DONE]\n\n`);
  }
  const refusal = refused(error);
  const requestId = crypto.randomUUID();
  const slug = refusal instanceof Refusal ? refusal : new Refusal("provider_failed");
  console.error(`${requestId} ${slug.slug} in the middle of an answer`);
  const retryable = receipt?.tokensDeducted === 0; // a call that was paid for is not made again
  return encoder.encode(
    `data: ${JSON.stringify({ error: { ...problemBody(slug, requestId), retryable } })}\n\n`,
  );
}

const costOf = (receipt: HoldReceipt) => ({
  hold_id: receipt.holdId,
  usage_id: receipt.usageId,
  tokens_deducted: receipt.tokensDeducted,
  tokens_remaining: receipt.tokensRemaining,
});

function refused(error: unknown): unknown {
  if (error instanceof TokenbookError) return refusalOf(error);
  if (error instanceof NotSettledError) logUnsettled(error);
  return error;
}

/** What the usage row says. Never the provider's words: they may repeat what the user wrote. */
function reasonOf(error: unknown, outcome: Outcome): string {
  if (outcome === "aborted") return "the client has gone";
  if (error instanceof CallTimedOutError) return "provider_timeout";
  if (!(error instanceof Refusal)) return "the answer broke off";
  const status = error.facts.providerStatus;
  return status === undefined ? error.slug : `${error.slug} (HTTP ${status})`;
}

function logUnsettled({ userId, holdId, outcome, usage, cause }: NotSettledError): void {
  console.error(
    `hold ${holdId} of ${userId} is not settled: ${outcome}, ${JSON.stringify(usage ?? {})}, ${String(cause)}`,
  );
}
