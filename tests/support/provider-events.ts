/** What payment providers tell, as tests say it. */

let clock = Date.now();

/** The provider's time of what happens next: each a moment after the one before. */
export const moment = (): string => new Date((clock = Math.max(clock + 1, Date.now()))).toISOString();

/** A fact of just now, unless it says when. */
export const told = (facts: Record<string, unknown>): Record<string, unknown> => ({
  occurred_at: moment(),
  ...facts,
});

/** One dispute as it stands now. */
export const dispute = (status: "inquiry" | "open" | "won" | "lost", id = "dp_1", amountCents?: number) => ({
  kind: "dispute",
  dispute_id: id,
  status,
  ...(amountCents !== undefined && { amount_cents: amountCents }),
});

/** One refund as it stands now. */
export const refund = (
  id: string,
  amountCents: number,
  status: "pending" | "succeeded" | "failed" | "canceled" = "succeeded",
) => ({ kind: "refund", refund_id: id, status, amount_cents: amountCents });
