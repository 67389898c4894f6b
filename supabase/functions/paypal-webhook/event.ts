/** What an event of PayPal's is made of. Whatever goes on to the books is bounded here. */
import { z } from "zod";
import type { Refusal } from "../_shared/problem.ts";
import { providerId, read, unreadable } from "../_shared/provider-event.ts";

const momentRule = "a moment of 1900 to 2199 with its offset from UTC";

/** A moment, as PayPal writes it and the books keep it. */
export const moment = z.iso
  .datetime({ offset: true, error: momentRule })
  .refine((it) => /^(19|20|21)\d\d-.*T\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-])/.test(it), momentRule);

/** A verified event that is ours to read. */
export interface PaypalEvent {
  type: string;
  /**
   * What it is about.
   *
   * @throws {Refusal} when it is not as PayPal documents it: better seen than guessed
   */
  resource<T>(schema: z.ZodType<T>): T;
  /** The refusal of a resource that does not say what is needed. */
  unreadable(field: string, rule: string): Refusal;
}

const Envelope = z.object({
  id: providerId,
  event_type: z
    .string("a type")
    .regex(/^[A-Z0-9._-]{1,100}$/, "a type of at most 100 letters, digits and . _ -"),
});

const Contents = z.object({ create_time: moment, resource: z.unknown() });

/** Enough of an event to know whether it is ours. */
export function envelopeOf(body: unknown): { id: string; type: string } {
  const { id, event_type: type } = read(Envelope, body, "an event of PayPal's");
  return { id, type };
}

/** The rest of it. */
export function contentsOf(body: unknown): { occurredAt: string; event: PaypalEvent } {
  const { id, type } = envelopeOf(body);
  const whence = `${type} ${id}`;
  const { create_time: occurredAt, resource } = read(Contents, body, whence);
  return {
    occurredAt,
    event: {
      type,
      resource: (schema) => read(schema, resource, whence, ["resource"]),
      unreadable: (field, rule) => unreadable(whence, `resource.${field}`, rule),
    },
  };
}
