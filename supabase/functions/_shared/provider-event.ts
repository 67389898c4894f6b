/** What is asked of a payment provider's event before anything of it goes on to the books. */
import { z } from "zod";
import { parsed } from "./faults.ts";
import { text } from "./fields.ts";
import { Refusal } from "./problem.ts";

/** A provider's id of a payment, a refund, a dispute, a subscription, an event: as long as the books keep one. */
export const providerId = z
  .string("an id")
  .regex(/^[A-Za-z0-9._:-]{1,255}$/, "an id of at most 255 letters, digits and . _ : -");

/** A text of the provider's that may be in a project's own words. */
export const label = text.min(1, "a text that is not empty").max(255, "a text of at most 255 characters");

/** Money in the currency's smallest unit. */
export const cents = z
  .int("a whole number")
  .min(0, "a number that is not negative")
  .max(999_999_999_999_999, "at most 15 digits");

/** ISO 4217, as providers write it. */
export const currency = z.string("a currency").regex(/^[A-Za-z]{3}$/, "a currency of three letters");

/**
 * The value, read as the provider documents it. Its signature was good, so this is no forgery: it is something
 * that we do not know, better seen than guessed.
 *
 * @param whence what it is a part of, for the person who reads the log
 * @throws {Refusal} invalid_provider_event, with what is wrong with it; in the log too
 */
export function read<T>(schema: z.ZodType<T>, value: unknown, whence: string, at: string[] = []): T {
  const result = parsed(schema, value);
  if ("data" in result) return result.data;
  const { path, rule } = result.fault;
  throw unreadable(whence, [...at, ...path].join(".") || "body", rule);
}

/** The refusal of an event that cannot be read. */
export function unreadable(whence: string, field: string, rule: string): Refusal {
  return new Refusal(
    "invalid_provider_event",
    { field: field.slice(0, 128), rule },
    { cause: new Error(`${whence} cannot be read: ${field.slice(0, 128)}: ${rule}`) },
  );
}
