/** What has been typed into a dialog, and what of a row it changes. */
import { decimalsOf, format } from "../format.ts";
import type { Limits } from "./numbers.ts";
import { numbers } from "./typed.ts";

/** What can be said of something: `name` is the database's. */
export interface Field {
  name: string;
  label: string;
  hint?: string;
  /** `count` is a whole number; `money` cents that are shown in their currency; `dollars` cents and parts of one. */
  kind: "words" | "count" | "number" | "money" | "dollars" | "yes" | "choice" | "date";
  choices?: readonly { value: string; label: string }[];
  /** What is empty is null; of `choice`: none can be chosen. */
  isOptional?: boolean;
  /** Behind “More”. */
  isRare?: boolean;
  /** In a row of its own. */
  isWide?: boolean;
}

/** As inputs have it: a number as it is typed, nothing as "". */
export type Draft = Readonly<Record<string, string | boolean>>;

type Row = Readonly<Record<string, unknown>>;

export interface Change {
  label: string;
  before: string;
  after: string;
}

const currencyOf = (draft: Draft) =>
  String(draft["currency"] ?? "usd")
    .trim()
    .toLowerCase();

/** What may be typed where a number is asked for; undefined: it is not. */
export function limitsOf({ kind }: Field, currency: string): Limits | undefined {
  if (kind === "count") return {};
  if (kind === "number") return { decimals: 12 };
  if (kind === "dollars") return { decimals: 14, shift: 2 };
  if (kind !== "money") return undefined;
  return { decimals: decimalsOf(currency), shift: decimalsOf(currency) };
}

/** The same, in the currency that stands in the draft. */
export const limitsIn = (field: Field, draft: Draft) => limitsOf(field, currencyOf(draft));

/** A row as it is filled in. */
export function draftOf(fields: readonly Field[], row: Row): Draft {
  return Object.fromEntries(
    fields.map((field) => {
      const { name, kind } = field;
      const value = row[name];
      if (kind === "yes") return [name, value === true];
      if (value == null) return [name, ""];
      const limits = limitsOf(field, String(row["currency"] ?? "usd"));
      return [
        name,
        limits === undefined ? String(value) : numbers.write(Number(value), limits, kind === "money"),
      ];
    }),
  );
}

/** What it says of a field, as the database has it; undefined: not yet anything, or nothing that can be read. */
export function valueOf(field: Field, draft: Draft): unknown {
  const { name, isOptional = false } = field;
  const typed = draft[name];
  if (typeof typed === "boolean") return typed;
  const text = typed?.trim() ?? "";
  if (text === "") return isOptional ? null : undefined;
  const limits = limitsIn(field, draft);
  if (limits !== undefined) return numbers.read(text, limits).value ?? undefined;
  return name === "currency" ? text.toLowerCase() : text;
}

export const isComplete = (fields: readonly Field[], draft: Draft): boolean =>
  fields.every((field) => valueOf(field, draft) !== undefined);

/** The fields that are to be another: what nobody touched stays out, so it stays as somebody else may have made it. */
export function changesOf(fields: readonly Field[], draft: Draft, row: Row): Record<string, unknown> {
  return Object.fromEntries(
    fields.flatMap((field) => {
      const value = valueOf(field, draft);
      return value === undefined || value === (row[field.name] ?? null) ? [] : [[field.name, value]];
    }),
  );
}

/** The same for people. */
export function saidChanges(fields: readonly Field[], draft: Draft, row: Row): Change[] {
  const changed = changesOf(fields, draft, row);
  return fields
    .filter(({ name }) => name in changed)
    .map((field) => ({
      label: field.label,
      before: said(field, row[field.name], String(row["currency"] ?? "usd")),
      after: said(field, changed[field.name], currencyOf(draft)),
    }));
}

function said({ kind, choices }: Field, value: unknown, currency: string): string {
  if (value == null || value === "") return "none";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (kind === "choice") return choices?.find((it) => it.value === value)?.label ?? String(value);
  if (typeof value !== "number") return String(value);
  if (kind === "dollars") return format.unitPrice(value, "USD");
  if (kind === "money")
    return decimalsOf(currency) >= 0 && /^[a-z]{3}$/.test(currency)
      ? format.price(value, currency)
      : String(value);
  return format.exact(value);
}
