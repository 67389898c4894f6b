/** What somebody types into the calculator: numbers within limits, or what is wrong with them. */
import type { Load } from "./model.ts";
import { number } from "./words.ts";

type Numbers = { [name in keyof Load as Load[name] extends number ? name : never]: Load[name] };
export type Field = keyof Numbers;

/** What is asked, in its order, and within which limits. */
export const fields: Record<Field, { label: string; min: number; max: number }> = {
  users: { label: "Users", min: 1, max: 1e9 },
  activeUsers: { label: "Users in the busiest hours", min: 1, max: 1e9 },
  callsPerDay: { label: "Spendings a day", min: 1, max: 1e11 },
  readsPerCall: { label: "Balances read for each", min: 0, max: 100 },
  peak: { label: "Busiest hour, times the mean", min: 1, max: 50 },
  years: { label: "Years that are kept", min: 0.1, max: 30 },
};

/** The numbers, and a message for each that cannot be taken. */
export function readTyped(typed: Record<Field, string>): {
  numbers: Numbers;
  messages: Partial<Record<Field, string>>;
} {
  const numbers = Object.fromEntries(
    Object.entries(typed).map(([name, text]) => [name, numberOf(text)]),
  ) as unknown as Numbers;
  const messages: Partial<Record<Field, string>> = {};
  for (const [name, { min, max }] of Object.entries(fields) as [Field, (typeof fields)[Field]][]) {
    const value = numbers[name];
    if (Number.isNaN(value)) messages[name] = "Please type a number.";
    else if (value < min) messages[name] = `At least ${number(min)}.`;
    else if (value > max) messages[name] = `At most ${number(max)}.`;
    else if (name === "activeUsers" && value > numbers.users) messages[name] = "More than there are users.";
  }
  return { numbers, messages };
}

/** 1000000, 1,000,000, 1 000 000 or 1e6; NaN: none of them. */
function numberOf(text: string): number {
  const plain = text.trim().replace(/(?<=\d)[, ](?=\d{3}(\D|$))/g, "");
  return /^-?(\d+\.?\d*|\.\d+)(e\d+)?$/i.test(plain) ? Number(plain) : NaN;
}
