import { Failure } from "local-platform/terminal/failure";
import { select } from "./client.ts";
import type { SqlClient } from "./client.ts";
import { readMoment } from "./moment.ts";

/** What a model can cost, in cents; the columns of `token_model_prices`. */
export const priceFields = [
  "input_cents_per_million",
  "cached_input_cents_per_million",
  "output_cents_per_million",
  "cents_per_image",
  "cents_per_minute",
] as const;

export type PriceField = (typeof priceFields)[number];

/** Where a model's price comes from: a person, or a catalogue that was synced. */
export type Source = "manual" | "synced";

/** A price that somebody wants a model to have. */
export interface Wanted {
  model: string;
  /** As it is written, so that no digit is lost; null: not known; left out: as it is. */
  prices: Partial<Record<PriceField, string | null>>;
  /** From when; left out: from now. */
  validFrom?: string | undefined;
}

/** A row of the list: a price as Postgres writes it. */
export type Price = {
  model: string;
  valid_from: string;
  state: "past" | "now" | "planned";
  source: Source;
} & Record<PriceField, string | null>;

/** The prices, by model and date. */
export async function listPrices(client: SqlClient): Promise<Price[]> {
  return await select<Price>(
    client,
    `select p.model, p.valid_from::text, p.source, ${priceFields.map((field) => `trim_scale(p.${field})::text as ${field}`).join(", ")},
            case when p.valid_from > clock_timestamp() then 'planned'
                 when exists (select from public.token_model_prices l
                               where l.model = p.model and l.valid_from > p.valid_from and l.valid_from <= clock_timestamp()) then 'past'
                 else 'now' end as state
       from public.token_model_prices p
      order by p.model, p.valid_from`,
  );
}

/** What came of one, as set_token_model_price says it. */
export interface Set {
  model: string;
  isNew: boolean;
  /** `source`: the price comes from elsewhere than before. */
  changed: (PriceField | "source")[];
  /** It was set by hand, and a sync has left it as it is. */
  isManual: boolean;
  validFrom: string | null;
  price: Record<PriceField, number | null> | null;
}

/**
 * Sets one. Former prices stay.
 *
 * @throws Failure for what the database refuses, with the field and its rule.
 */
export async function setPrice(
  client: SqlClient,
  wanted: Wanted,
  reason: string,
  source: Source = "manual",
): Promise<Set> {
  const fields = Object.entries(wanted.prices).map(
    ([field, text]) => `${JSON.stringify(field)}:${text ?? "null"}`,
  );
  const price = `{${fields.join(",")}}`;
  const validFrom = wanted.validFrom === undefined ? undefined : readMoment(wanted.validFrom)?.text;
  if (wanted.validFrom !== undefined) {
    if (validFrom === undefined) {
      throw new Failure(
        `${wanted.model}: ${wanted.validFrom} is no moment. It looks like 2027-01-01T00:00Z.`,
      );
    }
    // a former price may not be set, but it may be the one that is meant
    const [there] = await select<{ is: boolean }>(
      client,
      `select exists (
         select from public.token_model_prices p
          where p.model = $1 and p.valid_from = $2::timestamptz and to_jsonb(p) @> $3::jsonb) as is`,
      [wanted.model, validFrom, price],
    );
    if (there!.is)
      return { model: wanted.model, isNew: false, changed: [], isManual: false, validFrom, price: null };
  }
  try {
    const [row] = await select<{
      answer: {
        is_new: boolean;
        changed: Set["changed"];
        is_manual: boolean;
        price: ({ valid_from: string } & Record<PriceField, number | null>) | null;
      };
    }>(client, "select public.set_token_model_price($1, $2::jsonb, $3, $4, $5) as answer", [
      wanted.model,
      price,
      reason,
      validFrom ?? null,
      source,
    ]);
    const { is_new, changed, is_manual, price: set } = row!.answer;
    return {
      model: wanted.model,
      isNew: is_new,
      changed,
      isManual: is_manual,
      validFrom: set?.valid_from ?? null,
      price: set,
    };
  } catch (error) {
    const { message, detail } = error as { message: string; detail?: string };
    if (!message.startsWith("invalid_") || detail === undefined) throw error;
    const { field, rule } = JSON.parse(detail) as { field: string; rule: string };
    throw new Failure(`${wanted.model}: ${field.replace(/^p_/, "")} must be ${rule}.`);
  }
}
