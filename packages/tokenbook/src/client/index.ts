/** What an app imports from `tokenbook`. Nothing of the command line is behind it. */
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
