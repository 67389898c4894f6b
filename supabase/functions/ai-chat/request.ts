import { z } from "zod";
import { integer, text } from "../_shared/fields.ts";
import { bytesOf, tokensInBytes } from "../_shared/model-usage.ts";
import { Refusal } from "../_shared/problem.ts";
import type { Provider } from "./provider.ts";

const TextPart = z.strictObject({
  type: z.literal("text", "text: what else costs is not known before"),
  text,
});

const Message = z.strictObject({
  role: z.enum(["system", "developer", "user", "assistant", "tool"]),
  content: z.union([text, z.array(TextPart)]).nullish(),
  name: text.optional(),
  tool_calls: z.array(z.looseObject({})).optional(),
  tool_call_id: text.optional(),
});

const limit = z.int("a whole number").min(1, "1 to 1000000").max(1_000_000, "1 to 1000000").optional();

const model = text.refine((it) => /^\S+$/.test(it) && bytesOf(it) <= 200, "a model's name");

/** What of a chat completion's request is taken and passed on. What is not here could cost more than is held. */
export const Body = z.strictObject({
  model,
  messages: z.array(Message, "a list of messages").min(1, "a list of messages"),
  max_tokens: limit,
  max_completion_tokens: limit,
  stream: z.boolean("true or false").optional(),
  stream_options: z.strictObject({ include_usage: z.boolean().optional() }).optional(),
  temperature: z.number().optional(),
  top_p: z.number().optional(),
  presence_penalty: z.number().optional(),
  frequency_penalty: z.number().optional(),
  seed: integer.optional(),
  stop: z.union([text, z.array(text)]).optional(),
  reasoning_effort: text.optional(),
  response_format: z.looseObject({}).optional(),
  tools: z.array(z.looseObject({})).optional(),
  tool_choice: z.union([text, z.looseObject({})]).optional(),
  parallel_tool_calls: z.boolean().optional(),
});

const inputRule = "a text, or 1 to 2048 texts";

/** What of an embeddings request is taken and passed on. */
export const EmbeddingsBody = z.strictObject({
  model,
  input: z.union([text, z.array(text).min(1).max(2_048)], inputRule).refine((it) => it.length > 0, inputRule),
  dimensions: limit,
  encoding_format: z.enum(["float", "base64"], "float or base64").optional(),
});

/** A call of the model. */
export interface Call {
  model: string;
  /** What of the provider is asked, behind its address. */
  path: "chat/completions" | "embeddings";
  /** Whether the answer comes in pieces. */
  isStream: boolean;
  /** For the provider. */
  body: object;
  /** An estimate of the prompt's tokens, before anybody has counted them. */
  inputTokens: number;
  /** The most tokens that the answer may have. */
  maxTokens: number;
  /** Whether the client wants the provider's count for itself. */
  wantsUsage: boolean;
}

/**
 * The call that is asked for. The answer is limited in any case, because the hold is as large as it
 * can get; and the provider is asked to count.
 *
 * @throws {Refusal} invalid_request
 */
export function callOf(body: z.infer<typeof Body>, provider: Provider): Call {
  checkModel(body.model, provider);
  if (body.max_tokens !== undefined && body.max_completion_tokens !== undefined) {
    throw new Refusal("invalid_request", { field: "max_tokens", rule: "not beside max_completion_tokens" });
  }
  const maxTokens = body.max_completion_tokens ?? body.max_tokens ?? provider.defaultMaxTokens;
  const { messages, tools, response_format } = body;
  const isStream = body.stream !== false;
  return {
    model: body.model,
    path: "chat/completions",
    isStream,
    body: {
      ...body,
      ...(body.max_completion_tokens === undefined && { max_tokens: maxTokens }),
      stream: isStream,
      stream_options: isStream ? { include_usage: true } : undefined,
    },
    inputTokens: tokensInBytes(bytesOf(JSON.stringify([messages, tools, response_format]))),
    maxTokens,
    wantsUsage: body.stream_options?.include_usage === true,
  };
}

/**
 * The same for embeddings: nothing but their input is charged for.
 *
 * @throws {Refusal} invalid_request
 */
export function embeddingsOf(body: z.infer<typeof EmbeddingsBody>, provider: Provider): Call {
  checkModel(body.model, provider);
  return {
    model: body.model,
    path: "embeddings",
    isStream: false,
    body,
    inputTokens: [body.input].flat().reduce((sum, it) => sum + tokensInBytes(bytesOf(it)), 0),
    maxTokens: 0,
    wantsUsage: false,
  };
}

function checkModel(name: string, { models }: Provider): void {
  if (models !== undefined && !models.includes(name)) {
    throw new Refusal("invalid_request", { field: "model", rule: `one of ${models.join(", ")}` });
  }
}
