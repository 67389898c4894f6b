/** Disputes: each by its own id, which PayPal keeps from the first inquiry to the last appeal. */
import { z } from "zod";
import type { DisputeFacts, ProviderEvent } from "../_shared/webhook.ts";
import { providerId as id } from "../_shared/provider-event.ts";
import type { PaypalEvent } from "./event.ts";
import { type Money, paidMoney } from "./money.ts";

const Dispute = z.object({
  dispute_id: id,
  status: z.string().optional(),
  dispute_life_cycle_stage: z.string().optional(),
  dispute_amount: paidMoney.optional(),
  dispute_outcome: z
    .object({ outcome_code: z.string().optional(), amount_refunded: paidMoney.optional() })
    .optional(),
  disputed_transactions: z
    .array(z.object({ seller_transaction_id: id, gross_amount: paidMoney.optional() }))
    .max(100, "at most 100 transactions"),
});

type Dispute = z.infer<typeof Dispute>;

/** Who won, as PayPal's guide for merchants reads each outcome. */
const outcomes: Record<string, DisputeFacts["status"]> = {
  RESOLVED_SELLER_FAVOUR: "won",
  RESOLVED_SELLER_FAVOR: "won",
  RESOLVED_WITH_PAYOUT: "won", // PayPal bears it
  CANCELED_BY_BUYER: "won",
  DENIED: "won",
  NONE: "won", // closed undecided, because another dispute goes on about the same payment
  RESOLVED_BUYER_FAVOUR: "lost",
  RESOLVED_BUYER_FAVOR: "lost",
  ACCEPTED: "lost",
};

export function fromDispute(event: PaypalEvent): ProviderEvent["payments"] {
  const dispute = event.resource(Dispute);
  const status = statusOf(dispute);
  const amount = amountOf(dispute, status);
  const transactions = dispute.disputed_transactions;
  const shares = sharesOf(amount, transactions.map(({ gross_amount }) => gross_amount)); // prettier-ignore
  return transactions.map(({ seller_transaction_id }, index) => {
    const facts: DisputeFacts = {
      kind: "dispute",
      dispute_id: dispute.dispute_id,
      status,
      amount_cents: shares[index],
      currency: amount?.currency,
    };
    return { id: seller_transaction_id, facts };
  });
}

/**
 * A dispute that is closed may be opened again, so its outcome counts only while it is resolved. An
 * inquiry is between buyer and merchant, and withholds nothing unless it ends with a refund.
 */
function statusOf({
  status,
  dispute_life_cycle_stage: stage,
  dispute_outcome,
}: Dispute): DisputeFacts["status"] {
  const going = stage === "INQUIRY" ? "inquiry" : "open";
  const code = dispute_outcome?.outcome_code;
  if (!code || (status !== undefined && status !== "RESOLVED")) return going;
  const ended = outcomes[code] ?? going; // an outcome that nobody has heard of decides nothing
  return ended === "won" && going === "inquiry" ? "inquiry" : ended;
}

/** Once it is lost, what the buyer got; before, what they want. Undefined: all of the payment. */
function amountOf({ dispute_amount: wanted, dispute_outcome }: Dispute, status: string): Money | undefined {
  const got = dispute_outcome?.amount_refunded;
  const isComparable = got !== undefined && (wanted === undefined || wanted.currency === got.currency);
  return status === "lost" && isComparable ? got : wanted;
}

/**
 * A dispute about several payments says one amount: each payment bears it by its own size, and what
 * rounding leaves the first one bears. Where the sizes are not told, each is disputed as a whole.
 */
function sharesOf(amount: Money | undefined, sizes: (Money | undefined)[]): (number | undefined)[] {
  if (amount === undefined) return sizes.map(() => undefined);
  if (sizes.length === 1) return [amount.cents];
  const known = sizes.flatMap((size) => (size?.currency === amount.currency ? [BigInt(size.cents)] : []));
  const all = known.reduce((sum, size) => sum + size, 0n);
  if (known.length < sizes.length || all === 0n) return sizes.map(() => undefined);
  const shares = known.map((size) => Number((BigInt(amount.cents) * size) / all));
  shares[0]! += amount.cents - shares.reduce((sum, share) => sum + share, 0);
  return shares;
}
