import type { ProviderEvent } from "../_shared/webhook.ts";

/** What an event tells of payments and subscriptions. */
export type Told = Pick<ProviderEvent, "payments" | "subscriptions" | "note">;

/** An event that changes nothing, and why: for the person who reads the answer in Stripe's dashboard. */
export const nothing = (note: string): Told => ({ payments: [], note });

/** What an event is called in the log. */
export const whence = ({ type, id }: { type: string; id: string }): string => `Stripe's ${type} ${id}`;
