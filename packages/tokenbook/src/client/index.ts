/** What an app imports from `tokenbook`. Nothing of the command line is behind it. */
export {
  TokenWebhookError,
  verifyTokenWebhook,
  type TokenWebhook,
  type TokenWebhookHeaders,
} from "./webhook.ts";
