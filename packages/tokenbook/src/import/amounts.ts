/** Amounts as other systems keep them, and tokens, which are whole. */
import { Failure } from "local-platform/terminal/failure";

/** A sum of decimals, exact: `value` units of 10^-`scale`. */
export interface Decimal {
  value: bigint;
  scale: number;
}

export const zero: Decimal = { value: 0n, scale: 0 };

/** Reads `12`, `-3.5`, `1e3`; undefined, when it is no number, or has more digits than anybody's tokens have (10^40). */
export function readDecimal(text: string): Decimal | undefined {
  const match = /^\s*([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,3}))?\s*$/.exec(text);
  if (!match || (!match[2] && !match[3])) return undefined;
  const [, sign, whole = "", fraction = "", exponent = "0"] = match;
  if (whole.replace(/^0+/, "").length + Number(exponent) > 40 || Number(exponent) < -400) return undefined;
  const value = BigInt(`${whole}${fraction}` || "0") * (sign === "-" ? -1n : 1n);
  const scale = fraction.length - Number(exponent);
  return scale >= 0 ? { value, scale } : { value: value * 10n ** BigInt(-scale), scale: 0 };
}

/**
 * How many tokens one of a source's units is.
 *
 * @throws Failure for what is no number above 0.
 */
export function readRate(text: string): Decimal {
  const rate = readDecimal(text);
  if (rate === undefined || rate.value <= 0n) throw new Failure("--times is a number above 0.");
  return rate;
}

export function add(a: Decimal, b: Decimal): Decimal {
  if (a.scale === b.scale) return { value: a.value + b.value, scale: a.scale };
  const scale = Math.max(a.scale, b.scale);
  const at = (one: Decimal) => one.value * 10n ** BigInt(scale - one.scale);
  return { value: at(a) + at(b), scale };
}

export const times = (a: Decimal, b: Decimal): Decimal => ({
  value: a.value * b.value,
  scale: a.scale + b.scale,
});

/** Whole tokens: what is less than one is left away, of a debt too. */
export const whole = ({ value, scale }: Decimal): bigint => value / 10n ** BigInt(scale);

/** How many digits behind the point people get to see: a sum of floats can have hundreds. */
const mostDigits = 12;

/** For people: `1,234.5`. */
export function asText(decimal: Decimal): string {
  const [units, fraction] = asPlain(decimal).split(".");
  const text = units!.replaceAll(/\B(?=(\d{3})+$)/g, ",");
  if (fraction === undefined) return text;
  return `${text}.${fraction.length > mostDigits ? `${fraction.slice(0, mostDigits)}…` : fraction}`;
}

/** For machines, and each number in one way: `1234.5`. */
export function asPlain({ value, scale }: Decimal): string {
  const digits = (value < 0n ? -value : value).toString().padStart(scale + 1, "0");
  const fraction = digits.slice(digits.length - scale).replace(/0+$/, "");
  return `${value < 0n ? "-" : ""}${digits.slice(0, digits.length - scale)}${scale > 0 && fraction !== "" ? `.${fraction}` : ""}`;
}
