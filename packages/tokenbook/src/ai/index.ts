/**
 * `tokenbook/ai`: a user pays for calls of a model, made with the SDK that you use already.
 *
 * docs/guides/charging-for-model-calls.md tells how.
 */
export {
  BudgetSpentError,
  type BudgetStanding,
  CallAlreadyMadeError,
  CallTimedOutError,
  type HoldClient,
  type HoldReceipt,
  NotSettledError,
  type StreamEnd,
  TokenbookError,
  TokensShortError,
  type Usage,
} from "../../../../supabase/functions/_shared/token-hold.ts";
export { type BudgetOptions, tokenBudget, type TokenBudget } from "./budget.ts";
export { chargeAnthropic, chargeOpenAI } from "./clients.ts";
export { chargedFetch } from "./fetch.ts";
export { tokenMiddleware, type TokenMiddleware } from "./middleware.ts";
export type { ChargeOptions } from "./options.ts";
