import { languageHere } from "tokenbook/react";

/** Numbers and times as the browser's language writes them. */
export const language = languageHere();
const whole = new Intl.NumberFormat(language);
const short = new Intl.NumberFormat(language, { notation: "compact", maximumFractionDigits: 1 });
const signed = new Intl.NumberFormat(language, { signDisplay: "exceptZero" });
const exact = new Intl.NumberFormat(language, { maximumFractionDigits: 12 });
const day = new Intl.DateTimeFormat(language, { dateStyle: "medium" });
const dayInUtc = new Intl.DateTimeFormat(language, { day: "numeric", month: "short", timeZone: "UTC" });
const minute = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });
const minuteOfYear = new Intl.DateTimeFormat(language, {
  day: "numeric",
  month: "short",
  hour: "numeric",
  minute: "2-digit",
});
const second = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat(language, { timeStyle: "medium" });
const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto" });

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
export const dayMs = 24 * hourMs;

/** A minus as wide as a plus, whatever is below nothing. */
const minus = (written: string) => written.replace("-", "−");

export const format = {
  tokens: (count: number) => minus(whole.format(count)),
  /** A rate, with all of its decimals. */
  exact: (rate: number) => exact.format(rate),
  /** For axes: 1.2M. */
  short: (count: number) => short.format(count),
  /** +1,000 or -1,000; 0 has no sign. */
  change: (count: number) => minus(signed.format(count)),
  percent: (share: number) =>
    new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: share < 0.1 ? 1 : 0 }).format(
      share,
    ),
  day: (moment: string) => day.format(new Date(moment)),
  /** The day of a bucket of a report, which begins and ends in UTC. */
  bucket: (moment: string) => dayInUtc.format(new Date(moment)),
  minute: (moment: string) => minute.format(new Date(moment)),
  /** As short as it can be: the year is said of other years alone. */
  brief: (moment: string, now = new Date()) => {
    const date = new Date(moment);
    return (date.getFullYear() === now.getFullYear() ? minuteOfYear : minute).format(date);
  },
  second: (moment: string) => second.format(new Date(moment)),
  clock: (moment: number) => clock.format(moment),
  /** "in 3 days"; what is more than a month away is said as a day. */
  until: (moment: string, now = Date.now()) => {
    const ms = Date.parse(moment) - now;
    if (Math.abs(ms) < hourMs) return relative.format(Math.round(ms / minuteMs), "minute");
    if (Math.abs(ms) < 2 * dayMs) return relative.format(Math.round(ms / hourMs), "hour");
    if (Math.abs(ms) < 31 * dayMs) return relative.format(Math.round(ms / dayMs), "day");
    return day.format(new Date(moment));
  },
  price: (cents: number, currency: string) => {
    const money = new Intl.NumberFormat(language, { style: "currency", currency });
    return minus(money.format(cents / 10 ** decimalsOf(currency)));
  },
  /** A price of very little, with all of its decimals. */
  unitPrice: (cents: number, currency: string) =>
    new Intl.NumberFormat(language, { style: "currency", currency, maximumFractionDigits: 12 }).format(
      cents / 10 ** decimalsOf(currency),
    ),
};

/** How many decimals a currency has; 2 for what is none. */
export function decimalsOf(currency: string): number {
  if (!/^[a-z]{3}$/i.test(currency)) return 2;
  const { maximumFractionDigits } = new Intl.NumberFormat(language, {
    style: "currency",
    currency,
  }).resolvedOptions();
  return maximumFractionDigits ?? 2;
}

/** `chat_conversation` as people read it. */
export function humanized(name: string): string {
  const words = name.replaceAll(/[_-]+/g, " ").trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}
