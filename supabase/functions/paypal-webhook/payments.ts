/**
 * What PayPal's events say about payments. One payment is one capture (an order) or one sale (a
 * subscription); refunds and disputes name its id.
 */
import { z } from "zod";
import type { Catalogue } from "../_shared/catalogue.ts";
import { type Facts, type PaidFacts, type ProviderEvent, userId } from "../_shared/webhook.ts";
import type { PaypalApi } from "./api.ts";
import { cents } from "./money.ts";

type Payments = ProviderEvent["payments"];

const Money = z.object({ value: z.string(), currency_code: z.string() });

const Capture = z.object({
  id: z.string(),
  amount: Money,
  custom_id: z.string().optional(),
});

const CaptureRefund = z.object({
  seller_payable_breakdown: z.object({ total_refunded_amount: Money }),
  links: z.array(z.object({ rel: z.string(), href: z.string() })),
});

const Sale = z.object({
  id: z.string(),
  amount: z.object({ total: z.string(), currency: z.string() }),
  billing_agreement_id: z.string().optional(),
  create_time: z.iso.datetime({ offset: true }),
});

const SaleRefund = z.object({
  sale_id: z.string(),
  total_refunded_amount: z.object({ value: z.string(), currency: z.string() }),
});

const Dispute = z.object({
  dispute_id: z.string(),
  disputed_transactions: z.array(z.object({ seller_transaction_id: z.string() })),
  dispute_outcome: z.object({ outcome_code: z.string() }).optional(),
});

const Subscription = z.object({
  plan_id: z.string(),
  custom_id: z.string().optional(),
});

/**
 * @param resource what the event is about
 * @returns none for an event that changes nothing for us
 * @throws when the resource is not as PayPal documents it: better seen in the log than guessed
 */
export async function paymentsIn(
  type: string,
  resource: unknown,
  catalogue: Catalogue,
  api: PaypalApi,
): Promise<Payments> {
  switch (type) {
    case "PAYMENT.CAPTURE.COMPLETED":
      return await fromCapture(Capture.parse(resource), catalogue);
    case "PAYMENT.CAPTURE.REFUNDED":
      return fromCaptureRefund(CaptureRefund.parse(resource));
    case "PAYMENT.SALE.COMPLETED":
      return await fromSale(Sale.parse(resource), catalogue, api);
    case "PAYMENT.SALE.REFUNDED":
      return fromSaleRefund(SaleRefund.parse(resource));
    case "CUSTOMER.DISPUTE.CREATED":
    case "CUSTOMER.DISPUTE.RESOLVED":
      return fromDispute(Dispute.parse(resource));
    default:
      return [];
  }
}

/**
 * An order. Our server wrote `<user id>:<plan>` into its custom_id; a buyer whose page makes the order
 * writes it himself, and the amount too. So the plan counts only where exactly its price was paid.
 */
async function fromCapture({ id, amount, custom_id = "" }: z.infer<typeof Capture>, catalogue: Catalogue) {
  const [user, plan] = custom_id.split(":");
  const paid = cents(amount.value, amount.currency_code);
  const isItsPrice =
    plan !== undefined && (await catalogue.costs({ plan_type: plan }, 1, paid, amount.currency_code));
  const facts: Facts = {
    kind: "paid",
    user_id: userId(user),
    plan_type: isItsPrice ? plan : undefined,
    amount_cents: paid,
    currency: amount.currency_code,
  };
  return [{ id, facts }];
}

function fromCaptureRefund({ links, seller_payable_breakdown }: z.infer<typeof CaptureRefund>): Payments {
  const { total_refunded_amount: total } = seller_payable_breakdown;
  const capture = links.find(({ rel }) => rel === "up")?.href.split("/captures/")[1];
  if (capture === undefined) throw new Error("a refund of PayPal's does not name its capture");
  const facts: Facts = {
    kind: "refunded",
    currency: total.currency_code,
    refunded_cents: cents(total.value, total.currency_code),
  };
  return [{ id: capture, facts }];
}

/** A subscription's payment. Its plan and its user are the subscription's, which PayPal is asked for. */
async function fromSale(sale: z.infer<typeof Sale>, catalogue: Catalogue, api: PaypalApi): Promise<Payments> {
  const facts: PaidFacts = {
    kind: "paid",
    amount_cents: cents(sale.amount.total, sale.amount.currency),
    currency: sale.amount.currency,
    period_start: sale.create_time,
  };
  if (sale.billing_agreement_id !== undefined) {
    const subscription = await subscriptionOf(sale.billing_agreement_id, api);
    const sold = await catalogue.soldUnder("paypal", [subscription.plan_id]);
    facts.user_id = userId(subscription.custom_id);
    Object.assign(facts, sold.get(subscription.plan_id));
  }
  return [{ id: sale.id, facts }];
}

async function subscriptionOf(id: string, api: PaypalApi): Promise<z.infer<typeof Subscription>> {
  const answer = await api.ask(`/v1/billing/subscriptions/${encodeURIComponent(id)}`);
  if (!answer.ok) throw new Error(`PayPal does not tell a subscription: HTTP ${answer.status}`);
  return Subscription.parse(await answer.json());
}

function fromSaleRefund({ sale_id, total_refunded_amount: total }: z.infer<typeof SaleRefund>): Payments {
  const facts: Facts = {
    kind: "refunded",
    currency: total.currency,
    refunded_cents: cents(total.value, total.currency),
  };
  return [{ id: sale_id, facts }];
}

/** Outcomes after which the money is ours: the buyer lost, gave up, or PayPal paid him itself. */
const won = ["RESOLVED_SELLER_FAVOUR", "RESOLVED_WITH_PAYOUT", "CANCELED_BY_BUYER"];

function fromDispute(dispute: z.infer<typeof Dispute>): Payments {
  const { dispute_id, disputed_transactions, dispute_outcome: outcome } = dispute;
  const over = outcome !== undefined && (won.includes(outcome.outcome_code) ? "won" : "lost");
  return disputed_transactions.map(({ seller_transaction_id: id }) => ({
    id,
    facts: { kind: "dispute", dispute_id, status: over || "open" },
  }));
}
