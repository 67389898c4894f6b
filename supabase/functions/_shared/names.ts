/**
 * A name in SQL as it is in a request: `p_user_id` and `user_id` are both `userId`.
 */
export function wireName(sqlName: string): string {
  return sqlName.replace(/^p_/, "").replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
