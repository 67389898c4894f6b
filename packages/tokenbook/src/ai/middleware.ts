import { fields, Meter } from "../../../../supabase/functions/_shared/model-usage.ts";
import {
  type HoldClient,
  NotSettledError,
  withTokenHold,
} from "../../../../supabase/functions/_shared/token-hold.ts";
import { chargedStream, FailedAnswer } from "./charged-stream.ts";
import { estimate } from "./estimate.ts";
import { checkCharge, type ChargeOptions, tell, termsOf } from "./options.ts";

/** What a language model of the AI SDK is asked, as far as it is needed here. */
interface Params {
  prompt: unknown;
  headers?: Record<string, string | undefined> | undefined;
  abortSignal?: AbortSignal | undefined;
}

/** A language model of the AI SDK, as far as it is needed here. */
interface Model {
  modelId: string;
  // Each version of the SDK has types of its own; what comes out is what went in.
  // oxlint-disable-next-line typescript/no-explicit-any
  doGenerate(params: any): PromiseLike<unknown>;
  // oxlint-disable-next-line typescript/no-explicit-any
  doStream(params: any): PromiseLike<unknown>;
}

/** A middleware for `wrapLanguageModel` of the AI SDK, from version 6 on. */
export interface TokenMiddleware {
  readonly specificationVersion: "v3";
  wrapGenerate<Result>(call: {
    doGenerate: () => PromiseLike<Result>;
    params: Params;
    model: Model;
  }): Promise<Result>;
  wrapStream<Part, Result extends { stream: ReadableStream<Part> }>(call: {
    doStream: () => PromiseLike<Result>;
    params: Params;
    model: Model;
  }): Promise<Result>;
}

/**
 * A middleware for the AI SDK by which a user pays for what a language model generates and streams; each step of a
 * loop over tools is a call of its own. Tokens are held before a call, what the provider reports is paid when it has
 * come to its end; a call that failed costs nothing, one that was aborted or timed out what had come.
 *
 * A call with the header `Idempotency-Key` is paid for once, and each step of its loop over tools is.
 *
 * @param books a supabase-js client with the secret key
 * @throws {TokensShortError} {@link CallAlreadyMadeError} {@link BudgetSpentError} {@link TokenbookError} from the
 *   call, before the model is asked
 *
 * @example
 * ```ts
 * const model = wrapLanguageModel({
 *   model: openai("gpt-4.1-mini"),
 *   middleware: tokenMiddleware(server, { userId: user.id }),
 * });
 * const headers = { "Idempotency-Key": message.id };
 * const { text } = await generateText({ model, prompt: "When does the tide come in?", headers });
 * ```
 */
export function tokenMiddleware(books: HoldClient, options: ChargeOptions): TokenMiddleware {
  checkCharge("tokenMiddleware", options);
  const begin = (params: Params, { modelId: model }: Model) => {
    const { inputTokens, tokens } = estimate("chat", { ...params }, options);
    const signal = params.abortSignal;
    return {
      meter: new Meter({ model, inputTokens }),
      terms: termsOf(options, { kind: "chat", model, tokens, key: keyOf(params), ...(signal && { signal }) }),
    };
  };

  return {
    specificationVersion: "v3",

    async wrapGenerate<Result>({ params, model }: { params: Params; model: Model }) {
      const { meter, terms } = begin(params, model);
      try {
        const { value, receipt } = await withTokenHold(books, terms, async (hold) => {
          const result = await model.doGenerate({ ...params, abortSignal: hold.signal });
          meter.read(result);
          hold.report(meter.usage());
          return result as Result;
        });
        tell(options, { outcome: "completed", receipt });
        return value;
      } catch (error) {
        if (!(error instanceof NotSettledError)) throw error;
        tell(options, { outcome: error.outcome, notSettled: error });
        if (error.outcome !== "completed") throw error;
        return error.value as Result; // the call was made: the caller gets its answer
      }
    },

    async wrapStream<Part, Result extends { stream: ReadableStream<Part> }>({
      params,
      model,
    }: {
      params: Params;
      model: Model;
    }) {
      const { meter, terms } = begin(params, model);
      let result: Result | undefined;
      const stream = await chargedStream<Part>(books, options, terms, async (hold) => {
        result = (await model.doStream({ ...params, abortSignal: hold.signal })) as Result;
        let isComplete = false;
        return result.stream.pipeThrough(
          new TransformStream<Part, Part>({
            transform(part, controller) {
              const { type } = fields(part);
              if (type === "error") throw new FailedAnswer(part);
              isComplete ||= type === "finish";
              meter.read(part);
              hold.report(meter.usage());
              controller.enqueue(part);
            },
            flush() {
              if (!isComplete) throw new Error("the answer ended in the middle");
            },
          }),
        );
      });
      return { ...result!, stream };
    },
  };
}

/** The key of the request. All steps of a loop over tools have its headers, so each takes its number along. */
function keyOf({ prompt, headers = {} }: Params): string | undefined {
  const key = Object.entries(headers).find(([name]) => name.toLowerCase() === "idempotency-key")?.[1];
  if (key === undefined || !Array.isArray(prompt)) return key;
  const roles = prompt.map((message) => fields(message)["role"]);
  const steps = roles.slice(roles.lastIndexOf("user") + 1).filter((role) => role === "assistant").length;
  return steps === 0 ? key : `${key}:step-${steps}`;
}
