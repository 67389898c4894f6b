/** What requests call otherwise than the books: the plan of a payment, which has one before it too. */
const ofRequests: Record<string, string> = { toPlan: "planType" };

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
