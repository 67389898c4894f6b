/**
 * What requests and the client call otherwise than the books: the plan of a payment, which has one before it too; and
 * parameters of functions that are older than their neighbours, where one thing has two names.
 */
const ofRequests: Record<string, string> = {
  toPlan: "planType",
  tokensToDeduct: "tokens",
  tokensUsed: "tokens",
  modelUsed: "model",
  referralCode: "code",
};

/**
 * A name in SQL as it is in a request: `p_user_id` and `user_id` are both `userId`.
 */
export function wireName(sqlName: string): string {
  const name = sqlName.replace(/^p_/, "").replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  return ofRequests[name] ?? name;
}

/** A rule with the parameters that it names as requests have them. */
export function wireRule(rule: string): string {
  return rule.replace(/\bp_[a-z_]+/g, wireName);
}
