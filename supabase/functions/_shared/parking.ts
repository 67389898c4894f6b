/**
 * Events that say that money came and cannot be turned into a booking: the payment is parked with what is known of
 * it, so that somebody is told, and the provider gets the error all the same and sends the event again.
 */
import { errors } from "./errors.ts";
import type { PaidFacts } from "./facts.ts";
import { Refusal } from "./problem.ts";
import { SettingError } from "./setting.ts";

/** Why a payment waits. */
export type Why = Pick<PaidFacts, "parked_reason" | "parked_details">;

/** When an event happened that does not say it: always the same, so that it stays one fact however often it comes. */
export const unknownMoment = "1970-01-01T00:00:00.000Z";

/**
 * What an event tells; where it cannot be told, what is left of it.
 *
 * @param remainder what is known of the payment all the same; undefined: no money came
 * @param isUnasked whether that error means that the provider lets nobody ask it
 * @returns with the failure, which is thrown when what is left has been recorded
 * @throws what passes by itself: the provider sends the event again
 */
export async function orParked<T extends object>(
  told: () => T | Promise<T>,
  remainder: (why: Why) => T | undefined,
  isUnasked: (error: unknown) => boolean = () => false,
): Promise<T & { failure?: unknown }> {
  try {
    return await told();
  } catch (error) {
    if (isTemporary(error)) throw error;
    const left = remainder(whyOf(error, isUnasked));
    if (left === undefined) throw error;
    return { ...left, failure: error };
  }
}

function whyOf(error: unknown, isUnasked: (error: unknown) => boolean): Why {
  if (error instanceof SettingError || isUnasked(error)) return { parked_reason: "items_unknown" };
  if (!(error instanceof Refusal)) return { parked_reason: "unreadable" };
  const { field, rule } = error.facts;
  return { parked_reason: "unreadable", ...(rule !== undefined && { parked_details: { field, rule } }) };
}

/** Whether the same again may succeed by itself. */
export function isTemporary(error: unknown): boolean {
  return error instanceof Refusal && errors[error.slug].retryable;
}

/** A payment that the books refuse, as one that waits. */
export function refused(facts: PaidFacts, { slug }: Refusal): PaidFacts {
  const unnamed = { plan_type: undefined, pack_type: undefined, quantity: undefined };
  return { ...facts, ...unnamed, parked_reason: "refused", parked_details: { error: slug } };
}
