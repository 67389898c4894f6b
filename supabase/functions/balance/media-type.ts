// @ts-types="npm:@types/negotiator@0.6.5"
import Negotiator from "negotiator";

/** What a balance can be sent as; the first where the caller has no wish, or one that nobody can meet. */
const offered = ["application/json", "text/csv; charset=utf-8"];

/** Whether the `Accept` header likes CSV best, with its quality values (RFC 9110). */
export function prefersCsv(request: Request): boolean {
  const accept = request.headers.get("accept") ?? undefined;
  const [best] = new Negotiator({ headers: { accept } }).mediaTypes(offered);
  return best === offered[1];
}
