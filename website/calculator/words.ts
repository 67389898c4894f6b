/** Numbers as the calculator and the guide say them. */
import { assumptions, type Step } from "./model.ts";

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

/** Of one machine; more than the largest is several. */
export function cores(value: number): string {
  if (value <= assumptions.mostCores) return number(value);
  return `${number(value)}: ${number(Math.ceil(value / assumptions.mostCores))} machines`;
}

const names: Record<Step, string> = {
  partitions: "partitions",
  replica: "a read replica",
  projects: "several projects",
};

export function steps(all: Step[]): string {
  return all.length === 0 ? "nothing" : all.map((step) => names[step]).join(", ");
}
