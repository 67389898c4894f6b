import {
  type BudgetAnswer,
  type BudgetStanding,
  type HoldClient,
  standingOf,
} from "../../../../supabase/functions/_shared/hold-books.ts";
import { onlyKnown } from "../../../../supabase/functions/_shared/known-options.ts";
import { TokensShortError } from "../../../../supabase/functions/_shared/token-hold.ts";
import { askedOf, untilHeard, usualPatience } from "../../../../supabase/functions/_shared/until-heard.ts";

/** What a budget is for, and how long it lives. */
export interface BudgetOptions {
  userId: string;
  /** What the task may cost. */
  tokens: number;
  /** Seconds after which it has run out by itself; calls that run then go on. Default as in `reserve_tokens`. */
  ttlSeconds?: number;
  /** What the task is, as in `token_action_costs`. Grants that do not pay for it are left out. */
  actionType?: string;
  /**
   * The key of the task: asked for again with it, it is the same budget. Where that has run out (the process died), what
   * no call had taken of it is set aside anew, so that the task never costs more.
   */
  idempotencyKey?: string;
  /** Goes into the hold. */
  metadata?: Record<string, unknown>;
}

const budgetOptions = {
  userId: 1,
  tokens: 1,
  ttlSeconds: 1,
  actionType: 1,
  idempotencyKey: 1,
  metadata: 1,
} satisfies Record<keyof BudgetOptions, 1>;

/** Tokens that are set aside for a task of many calls. */
export interface TokenBudget {
  /** The hold: give it to another process, whose calls then take from the same budget. */
  readonly holdId: string;
  /** What the task may cost. */
  readonly tokens: number;
  /**
   * Ends the task: what no call has goes back to the user. Calls that run go on with what they hold. A second time it
   * says the same.
   */
  end(): Promise<BudgetStanding>;
}

/**
 * A budget for a task of many calls: a loop over tools, an agent, a fan-out. It is a hold: the tokens are set aside for
 * the task, and each call takes a part of them, in whichever process it runs. So all calls together never cost more,
 * however many run at once, and other spending of the user does not take them away. No call begins for which
 * it does not reach. A process that dies leaves nothing behind: its calls and the budget run out.
 *
 * @param books a supabase-js client with the secret key
 * @throws {TokensShortError} when the user has not as many tokens
 *
 * @example
 * ```ts
 * const budget = await tokenBudget(server, { userId, tokens: 50_000 });
 * const model = wrapLanguageModel({ model: gpt, middleware: tokenMiddleware(server, { userId, parentHold: budget.holdId }) });
 * await generateText({ model, tools, stopWhen: stepCountIs(20), prompt });
 * const { tokensUsed } = await budget.end();
 * ```
 */
export async function tokenBudget(books: HoldClient, options: BudgetOptions): Promise<TokenBudget> {
  onlyKnown("tokenBudget", options, budgetOptions);
  const { userId, tokens } = options;
  const ask = <Answer>(name: "reserve_tokens" | "release_tokens", args: Record<string, unknown>) =>
    untilHeard<Answer>(
      askedOf(books, name, Object.fromEntries(Object.entries(args).filter(([, it]) => it !== undefined))),
      usualPatience,
    );
  const end = async (holdId: string): Promise<BudgetStanding> => {
    const ended = await ask<Ended>("release_tokens", { p_user_id: userId, p_hold_id: holdId });
    if (ended.budget !== undefined) return standingOf(ended.budget);
    const { status, tokens_reserved: reserved, tokens_captured: captured } = ended;
    return { holdId, status, tokens: reserved, tokensPassed: 0, tokensLeft: 0, tokensUsed: captured ?? 0 };
  };

  const key = `budget:${options.idempotencyKey ?? crypto.randomUUID()}`;
  for (let [nth, left] = [1, tokens]; ; nth += 1) {
    const made = await ask<Reserved>("reserve_tokens", {
      p_user_id: userId,
      p_tokens: left,
      p_ttl_seconds: options.ttlSeconds,
      p_action_type: options.actionType ?? "chat_conversation",
      p_idempotency_key: nth === 1 ? key : `${key}:${nth}`,
      p_metadata: options.metadata,
    });
    if (!made.success) throw new TokensShortError(left, Math.max(0, left - made.tokens_remaining_to_deduct));
    const budget: TokenBudget = { holdId: made.hold_id, tokens: left, end: () => end(made.hold_id) };
    if (made.status !== "expired") return budget;
    const { tokensPassed } = await budget.end();
    if (tokensPassed >= left) return budget; // calls have all of it
    left -= tokensPassed;
  }
}

interface Reserved {
  success: boolean;
  status: BudgetStanding["status"];
  hold_id: string;
  tokens_remaining_to_deduct: number;
}

interface Ended {
  tokens_reserved: number;
  tokens_captured: number | null;
  status: BudgetStanding["status"];
  budget?: BudgetAnswer;
}
