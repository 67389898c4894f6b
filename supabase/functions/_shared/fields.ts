/**
 * The fields that requests are made of. Shapes only: whether a number of tokens is too large or a
 * grant type exists is for SQL to say, which says it to everyone else too.
 */
import { z } from "zod";
import type { Slug } from "./errors.ts";
import { parsed } from "./faults.ts";
import { Refusal } from "./problem.ts";

/** Which error a field's fault is: the same one that SQL would raise for it. */
const slugs: Record<string, Slug> = {
  userId: "invalid_user_id",
  tokens: "invalid_amount",
  delta: "invalid_amount",
  grantType: "invalid_grant_type",
  expiresAt: "invalid_expiry",
  grantedAt: "invalid_granted_at",
  startsAt: "invalid_starts_at",
  priority: "invalid_priority",
  reason: "invalid_reason",
  idempotencyKey: "invalid_idempotency_key",
  metadata: "invalid_metadata",
  quantity: "invalid_purchase",
  limit: "invalid_page",
  order: "invalid_page",
  after: "invalid_page",
  before: "invalid_page",
};

/** A uuid; of any version, because Postgres takes any. */
export const uuid = z.guid("a uuid");

/** A whole number that JSON keeps exact. */
export const integer = z.int("a whole number");

/** A number that fits Postgres' `integer`. */
export const smallInteger = z.int32("a whole number");

/** A whole number in a query. */
export const integerText = z
  .string()
  .regex(/^-?\d{1,16}$/, "a whole number")
  .transform(Number)
  .pipe(integer);

/** A small whole number in a query. */
export const smallIntegerText = integerText.pipe(smallInteger);

/** Text that Postgres can store. */
export const text = z.string("a text").refine(isStorable, "a text without NUL or half characters");

const momentRule = "an ISO 8601 moment with its offset from UTC";

/** A moment with its offset; kept as it was written, because Postgres has microseconds and a Date has not. */
export const moment = isoMoment(momentRule);

/** A moment, or `infinity` for never. */
export const momentOrNever = z
  .literal("infinity", `${momentRule}, or infinity`)
  .or(isoMoment(`${momentRule}, or infinity`));

/** A JSON object that comes back from the database as it went in. */
export const jsonObject = z.custom<Record<string, unknown>>(
  (value) => typeof value === "object" && value !== null && !Array.isArray(value) && isStorable(value),
  "an object at most 100 deep, texts without NUL or half characters, whole numbers within 2^53-1",
);

/**
 * The value, checked.
 *
 * @throws {Refusal} that names the first field at fault and what it must be
 */
export function check<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = parsed(schema, value);
  if ("data" in result) return result.data;
  const { path, rule, unknown } = result.fault;
  if (unknown !== undefined) throw new Refusal("invalid_request", { field: unknown.slice(0, 64), rule });
  const [field] = path;
  if (field === undefined) {
    throw new Refusal("invalid_request", { field: "body", rule: "a JSON object" });
  }
  throw new Refusal(slugs[field] ?? "invalid_request", { field, rule });
}

/**
 * Whether Postgres can store it as it is. It refuses NUL and half a surrogate pair with errors that
 * name no field, and its parser has a stack; JavaScript would silently round a longer number.
 */
function isStorable(value: unknown, depth = 0): boolean {
  if (typeof value === "string") return !value.includes("\0") && value.isWellFormed();
  if (typeof value === "number") {
    return Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value));
  }
  if (typeof value !== "object" || value === null) return true;
  return (
    depth < 100 &&
    Object.entries(value).every(([key, item]) => isStorable(key) && isStorable(item, depth + 1))
  );
}

/** ISO 8601, less what Postgres cannot read: the year 0 and offsets of 16 hours and more. */
function isoMoment(rule: string) {
  return z.iso
    .datetime({ offset: true, error: rule })
    .refine((it) => !it.startsWith("0000") && !/[+-](1[6-9]|2\d):\d\d$/.test(it), rule);
}
