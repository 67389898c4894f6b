/** What has been typed into a dialog, and what of a row it changes. */
import { decimalsOf, format } from "../format.ts";

/** What can be said of something: `name` is the database's. */
export interface Field {
  name: string;
  label: string;
  hint?: string;
  /** `count` is a whole number, `money` cents that are shown in their currency. */
  kind: "words" | "count" | "number" | "money" | "yes" | "choice" | "date";
  choices?: readonly { value: string; label: string }[];
  /** What is empty is null; of `choice`: none can be chosen. */
  isOptional?: boolean;
  /** Behind “More”. */
  isRare?: boolean;
  /** In a row of its own. */
  isWide?: boolean;
}

/** As inputs have it: an amount of money in its currency, nothing as "". */
export type Draft = Readonly<Record<string, string | number | boolean>>;

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

/** A row as it is filled in. */
export function draftOf(fields: readonly Field[], row: Row): Draft {
  const decimals = decimalsOf(String(row["currency"] ?? "usd"));
  return Object.fromEntries(
    fields.map(({ name, kind }) => {
      const value = row[name];
      if (kind === "yes") return [name, value === true];
      if (value == null) return [name, ""];
      return [name, kind === "money" ? Number(value) / 10 ** decimals : (value as string | number)];
    }),
  );
}

/** What it says of a field, as the database has it; undefined: not yet anything. */
function valueOf({ name, kind, isOptional = false }: Field, draft: Draft): unknown {
  const typed = draft[name];
  if (typeof typed === "boolean") return typed;
  const text = typeof typed === "string" ? typed.trim() : typed;
  if (text === undefined || text === "") return isOptional ? null : undefined;
  if (kind === "money") return Math.round(Number(text) * 10 ** decimalsOf(currencyOf(draft)));
  if (kind === "count" || kind === "number") return Number(text);
  return name === "currency" ? String(text).toLowerCase() : text;
}

export const isComplete = (fields: readonly Field[], draft: Draft): boolean =>
  fields.every((field) => valueOf(field, draft) !== undefined);

/** The fields that were changed here. A field that was not touched is left out, so a change that another admin made to it stays. */
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
  if (kind === "money")
    return decimalsOf(currency) >= 0 && /^[a-z]{3}$/.test(currency)
      ? format.price(value, currency)
      : String(value);
  return format.exact(value);
}
