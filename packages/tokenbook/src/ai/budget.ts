import { TokenbookError } from "../../../../supabase/functions/_shared/token-hold.ts";

/** The budget of a task does not reach for another call. Nothing was held, and the model was not asked. */
export class BudgetSpentError extends TokenbookError {
  override readonly name = "BudgetSpentError";
  readonly required: number;
  readonly available: number;

  constructor(required: number, available: number) {
    super(
      "insufficient_balance",
      { required, available },
      {
        message: `${required} tokens are needed, ${available} are left of the budget`,
      },
    );
    this.required = required;
    this.available = available;
  }
}

/** How many tokens the calls of one task may cost together, however many run at once. */
export interface TokenBudget {
  /** What the task may cost. */
  readonly tokens: number;
  /** What its calls have cost so far. */
  readonly spent: number;
  /** What is held for calls that are running. */
  readonly held: number;
  /** @internal Sets tokens aside for a call; what it returns says what of them was paid. */
  begin(tokens: number): (paid: number) => void;
}

/**
 * A budget for a task of many calls: a loop over tools, an agent, a fan-out. Give it to each client and middleware
 * that the task uses. No call begins for which it does not reach, and each pays at most what was held for it, so that
 * all of them together never cost more.
 *
 * It is kept in this process and sets nothing aside in the books: each call holds its own tokens, as ever.
 *
 * @param tokens what the task may cost
 * @throws {BudgetSpentError} from calls that it does not reach for; from a charged client, an error with status 402
 *   and code `insufficient_balance`
 *
 * @example
 * ```ts
 * const budget = tokenBudget(50_000);
 * const model = wrapLanguageModel({ model: gpt, middleware: tokenMiddleware(books, { userId, budget }) });
 * await generateText({ model, tools, stopWhen: stepCountIs(20), prompt });
 * console.log(`${budget.spent} of ${budget.tokens} tokens`);
 * ```
 */
export function tokenBudget(tokens: number): TokenBudget {
  if (!(Number.isSafeInteger(tokens) && tokens > 0)) throw new RangeError("tokens: a whole number from 1");
  let spent = 0;
  let held = 0;
  return {
    tokens,
    get spent() {
      return spent;
    },
    get held() {
      return held;
    },
    begin(asked) {
      const left = tokens - spent - held;
      if (asked > left) throw new BudgetSpentError(asked, left);
      held += asked;
      let isOver = false;
      return (paid) => {
        if (isOver) return;
        isOver = true;
        held -= asked;
        spent += paid;
      };
    },
  };
}
