/** Numbers as the calculator and the guide say them. */
import type { Due, Step, Way } from "./model.ts";

const plain = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

export function number(value: number): string {
  return value >= 1000 ? Math.round(value).toLocaleString("en") : plain.format(value);
}

export function bytes(value: number): string {
  const units = ["bytes", "kB", "MB", "GB", "TB", "PB"];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, value)) / 3)));
  return `${plain.format(value / 1000 ** power)} ${units[power]}`;
}

export function duration(seconds: number): string {
  if (Number.isNaN(seconds)) return "not measured";
  if (seconds < 1) return `${plain.format(seconds * 1000)} ms`;
  if (seconds < 120) return `${plain.format(seconds)} s`;
  if (seconds < 7200) return `${plain.format(seconds / 60)} min`;
  return `${plain.format(seconds / 3600)} h`;
}

/** How long until something is due. */
export function after(months: number): string {
  if (months === 0) return "from the start";
  if (months < 1) return "in the first month";
  if (months > 1200) return "after more than 100 years";
  const whole = Math.floor(months);
  return whole === 1 ? "after 1 month" : `after ${number(whole)} months`;
}

/** The ways to spend, as somebody says who has not read the reference. */
export const wayNames: Record<Way, string> = {
  deduct: "deduct a number of tokens",
  track: "track a model's use",
  "hold + capture": "hold, then capture",
};

const stepNames: Record<Step, string> = {
  partitions: "partitions",
  replica: "a read replica",
  projects: "several projects",
};

export function steps(all: Due[]): string {
  return all.length === 0
    ? "nothing"
    : all.map((one) => `${stepNames[one.step]} ${after(one.after)}`).join(", ");
}
