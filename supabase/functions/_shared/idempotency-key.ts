import { Refusal } from "./problem.ts";

/**
 * The key of a request: from its `Idempotency-Key` header, its body, or both if they agree.
 *
 * The header may be a quoted string, as the IETF draft has it, or bare, as most clients send it.
 * Which keys are well-formed is SQL's business.
 *
 * @throws {Refusal} invalid_idempotency_key when the two differ: either might be the one meant
 */
export function idempotencyKey(header: string | null, fromBody: string | undefined): string | undefined {
  if (header === null) return fromBody;
  const fromHeader = /^"(.*)"$/.exec(header)?.[1] ?? header;
  if (fromBody !== undefined && fromBody !== fromHeader) {
    throw new Refusal("invalid_idempotency_key", {
      field: "idempotencyKey",
      rule: "the same in the body and in the Idempotency-Key header",
    });
  }
  return fromHeader;
}
