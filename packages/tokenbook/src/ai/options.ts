import { onlyKnown } from "../../../../supabase/functions/_shared/known-options.ts";
import type { HoldOptions, StreamEnd } from "../../../../supabase/functions/_shared/token-hold.ts";

/** For whom calls of a model are charged, and how. */
export interface ChargeOptions extends Pick<
  HoldOptions,
  | "ttlSeconds"
  | "timeoutMs"
  | "graceMs"
  | "charge"
  | "onOverrun"
  | "metadata"
  | "describe"
  | "patience"
  | "parentHold"
> {
  userId: string;
  /** What a call is, as in `token_action_costs`. Default: `chat_conversation`, `embedding`, `image_generation` or `audio`. */
  actionType?: string;
  /** The most tokens of an answer for which the request says nothing: how much is held for it. Default 4096. */
  defaultMaxTokens?: number;
  /**
   * How many tokens are held for a call, instead of the estimate: a number, or what it is to be for this request.
   * What a call uses beyond is taken from the balance too; of a task, from what its budget has left.
   */
  tokens?: number | ((request: Record<string, unknown>) => number);
  /** Hears how each call that was answered ended, when it is settled. Without it, what could not be settled is logged. */
  onSettled?: (end: StreamEnd) => void;
}

const known = {
  userId: 1,
  tokens: 1,
  actionType: 1,
  defaultMaxTokens: 1,
  ttlSeconds: 1,
  timeoutMs: 1,
  graceMs: 1,
  charge: 1,
  onOverrun: 1,
  parentHold: 1,
  metadata: 1,
  describe: 1,
  patience: 1,
  onSettled: 1,
} satisfies Record<keyof ChargeOptions, 1>;

/** @throws TypeError for an option that there is not */
export const checkCharge = (where: string, options: ChargeOptions): void => onlyKnown(where, options, known);

/** What is asked of a model. */
export type Kind = "chat" | "embedding" | "image" | "audio";

const actions: Record<Kind, string> = {
  chat: "chat_conversation",
  embedding: "embedding",
  image: "image_generation",
  audio: "audio",
};

/** What is held for a call, and for how long. */
export function termsOf(
  options: ChargeOptions,
  call: {
    kind: Kind;
    model: string | undefined;
    tokens: number;
    key?: string | undefined;
    signal?: AbortSignal;
  },
): HoldOptions {
  const { actionType, defaultMaxTokens: _, tokens: __, onSettled: ___, ...rest } = options;
  return {
    ...rest,
    tokens: call.tokens,
    actionType: actionType ?? actions[call.kind],
    model: call.model,
    idempotencyKey: call.key,
    metadata: { ...(call.model !== undefined && { model: call.model }), ...options.metadata },
    ...(call.signal !== undefined && { signal: call.signal }),
    describe: options.describe ?? ((_error, outcome) => `the call ${outcome.replace("_", " ")}`),
  };
}

/** Tells `onSettled` how a call ended, or the log: what the books could not be told must leave a trace. */
export function tell({ onSettled }: ChargeOptions, end: StreamEnd): void {
  if (onSettled !== undefined) onSettled(end);
  else if (end.notSettled !== undefined) {
    const { userId, holdId, outcome, usage, cause } = end.notSettled;
    console.error(
      `hold ${holdId} of ${userId}: ${outcome}, ${JSON.stringify(usage ?? {})}, ${String(cause)}`,
    );
  }
}
