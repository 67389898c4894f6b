/** What the examples in TSDoc take for granted. They are compiled with it; tsdoc.test.ts says what is behind each when they run. */
import type { SupabaseClient } from "@supabase/supabase-js";
import type { QueryClient } from "@tanstack/react-query";
import type { ToolSet, wrapLanguageModel } from "ai";
import type { ReactElement } from "react";
import type { Hold, Tokenbook } from "tokenbook";
import type { AdminBooks } from "tokenbook/admin";

/** The package's own, as an app imports them. */
export {
  BudgetSpentError,
  CallAlreadyMadeError,
  CallTimedOutError,
  NotSettledError,
  streamWithTokenHold,
  tokenbook,
  TokenbookError,
  TokensShortError,
  TokenWebhookError,
  verifyTokenWebhook,
  withTokenHold,
} from "tokenbook";
export { eventKinds, planRepair, tokenbookAdmin } from "tokenbook/admin";
export { chargeAnthropic, chargedFetch, chargeOpenAI, tokenBudget, tokenMiddleware } from "tokenbook/ai";
export {
  BuyTokens,
  languageHere,
  TokenBalance,
  TokenbookProvider,
  TokenGrants,
  tokenKeys,
  tokenQueries,
  TokenUsage,
  useCanSpend,
  useTokenBalance,
  useTokenbook,
  useTokenHistory,
  useTokenLive,
  useTokenQueries,
  useTokenUsage,
  useTokenUser,
} from "tokenbook/react";

/** Others', as an app imports them. */
export { createOpenAICompatible } from "@ai-sdk/openai-compatible";
export { default as Anthropic } from "@anthropic-ai/sdk";
export { QueryClientProvider, useQuery, useSuspenseQuery } from "@tanstack/react-query";
export { generateText, stepCountIs, wrapLanguageModel } from "ai";
export { default as OpenAI } from "openai";

/** A client of somebody who is signed in, and one of the server's, with the secret key. */
export declare const [supabase, server]: [SupabaseClient, SupabaseClient];
/** The books of the signed-in user; where an example says `userId`, of an admin or the server. */
export declare const books: Tokenbook;
export declare const admin: AdminBooks;

/** The app's own. */
export declare const user: { id: string };
export declare const [userId, memberId, holdId, grantId, paymentId]: [string, string, string, string, string];
export declare const [parentHold, providerPaymentId, code, codeId]: [string, string, string, string];
export declare const deliveryId: number;
export declare const [secret, thanks, prompt]: [string, string, string];
export declare const endOfMonth: Date;
export declare const transactionId: number;
export declare const message: { id: string };
export declare const request: Request;
export declare const show: (...what: unknown[]) => void;
export declare const work: (hold: Hold) => Promise<string>;
export declare const askTheModel: (
  prompt: string,
  signal: AbortSignal,
) => Promise<{ text: string; input: number; output: number }>;
export declare const streamTheModel: (prompt: string, hold: Hold) => Promise<ReadableStream<string>>;

export declare const App: () => ReactElement;
export declare const queryClient: QueryClient;
type Model = Parameters<typeof wrapLanguageModel>[0]["model"];
export declare const gpt: Model;
export declare const openai: (model: string) => Model;
export declare const tools: ToolSet;
export declare const messages: { role: "user"; content: string }[];
