/** What an app imports from `tokenbook`. Nothing of the command line is behind it. */
export {
  BudgetSpentError,
  type BudgetStanding,
  CallAlreadyMadeError,
  CallTimedOutError,
  type Facts,
  type HeldStream,
  type Hold,
  type HoldClient,
  type HoldOptions,
  type HoldReceipt,
  NotSettledError,
  type Outcome,
  type Patience,
  type StreamEnd,
  streamWithTokenHold,
  TokenbookError,
  TokensShortError,
  type Usage,
  withTokenHold,
} from "../../../../supabase/functions/_shared/token-hold.ts";
export type * from "./answers.ts";
export type { SupabaseLike } from "./asking.ts";
export type * from "./options.ts";
export {
  type ClientHoldOptions,
  type TokenHistory,
  type Tokenbook,
  tokenbook,
  type TokenbookOptions,
} from "./tokenbook.ts";
export {
  TokenWebhookError,
  verifyTokenWebhook,
  type TokenAlertFacts,
  type TokenEvents,
  type TokenPaymentFacts,
  type TokenPaymentLosses,
  type TokenWebhook,
  type TokenWebhookHeaders,
  type TokenWebhookOf,
} from "./webhook.ts";
