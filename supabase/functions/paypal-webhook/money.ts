/** An amount in the currency's smallest unit: what is paid back may be written with a minus. */
export interface Money {
  cents: number;
  /** ISO 4217, as PayPal writes it. */
  currency: string;
}

/**
 * An amount as PayPal writes it ("20.00", "500", "-9.00") in the currency's smallest unit, which is what
 * our catalogue and Stripe count in. Exact: no number with a point is ever calculated with.
 *
 * @throws when it is no amount of that currency
 */
export function cents(value: string, currency: string): number {
  const { maximumFractionDigits: digits = 2 } = new Intl.NumberFormat("en", {
    style: "currency",
    currency,
  }).resolvedOptions();
  const [, minus, units, fraction = ""] = /^(-?)(\d{1,12})(?:\.(\d{1,10}))?$/.exec(value) ?? [];
  const excess = fraction.slice(digits);
  if (units === undefined || /[^0]/.test(excess)) throw new Error("not an amount of that currency");
  const count = Number(units + fraction.slice(0, digits).padEnd(digits, "0"));
  return minus === "-" && count > 0 ? -count : count;
}
