/**
 * What an app imports from `tokenbook/react`. All of it but the queries is marked "use client" where it is built: a server
 * component may render it, and prefetches with the queries.
 */
export {
  BuyTokens,
  type BuyTokensProps,
  TokenBalance,
  type TokenComponentProps,
  TokenGrants,
  type TokenGrantsProps,
  TokenUsage,
  type TokenUsageProps,
} from "./components.tsx";
export { languageHere } from "./formats.ts";
export {
  useCanSpend,
  useTokenBalance,
  useTokenbook,
  useTokenHistory,
  useTokenLive,
  useTokenQueries,
  useTokenUsage,
  useTokenUser,
} from "./hooks.ts";
export type { LiveSupabase } from "./live.ts";
export { TokenbookProvider, type TokenbookProviderProps } from "./provider.tsx";
export {
  type CanSpendOptions,
  tokenKeys,
  tokenQueries,
  type TokenUsageOptions,
  type TokenUser,
} from "./queries.ts";
