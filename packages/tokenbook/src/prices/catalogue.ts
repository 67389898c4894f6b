/** Prices of models as models.dev lists them: dollars of a million tokens, by provider and model. */
import { readFileSync } from "node:fs";
import { Failure } from "local-platform/terminal/failure";
import type { Wanted } from "../data/model-prices.ts";
import snapshot from "./snapshot.json" with { type: "json" };

interface Cost {
  input?: number;
  output?: number;
  cache_read?: number;
}

type Providers = Record<string, { models?: Record<string, { cost?: Cost }> }>;

export interface Catalogue {
  /** Where the prices are from, in words. */
  from: string;
  wanted: Wanted[];
}

/** The providers whose prices are taken where none is said. */
export const makers: readonly string[] = Object.keys(snapshot.providers);

/**
 * The prices of these providers' models: of the snapshot that ships with the package, or of a file as models.dev
 * publishes it (api.json). A model without prices is left out; so is a price of 0 for everything, which says that
 * a plan includes the model or that the price is not known.
 *
 * @throws Failure when the file cannot be read or is none, has no such provider, or two of them price a model otherwise
 */
export function readCatalogue(path: string | undefined, providers: readonly string[]): Catalogue {
  const { source } = snapshot;
  const all: Providers = path === undefined ? snapshot.providers : readFile(path);
  const found = new Map<string, { provider: string; prices: Wanted["prices"] }>();
  for (const provider of providers) {
    const models = all[provider]?.models;
    if (models === undefined)
      throw new Failure(`There is no provider ${provider} in ${path ?? "the snapshot"}.`);
    for (const [model, { cost }] of Object.entries(models)) {
      const prices = asPrices(cost ?? {}, `${provider} ${model}`);
      if (prices === undefined) continue;
      const other = found.get(model);
      if (other !== undefined && JSON.stringify(other.prices) !== JSON.stringify(prices)) {
        throw new Failure(
          `${model} has one price of ${other.provider} and another of ${provider}: name one of them.`,
        );
      }
      found.set(model, { provider, prices });
    }
  }
  if (found.size === 0)
    throw new Failure(`${path ?? "The snapshot"} has no prices of ${providers.join(", ")}.`);
  return {
    from:
      path ??
      `the ${source.catalogue} prices of ${source.package} ${source.version}, published ${source.published}`,
    wanted: [...found].map(([model, { prices }]) => ({ model, prices })),
  };
}

function readFile(path: string): Providers {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new Failure(`${path} cannot be read: ${(error as NodeJS.ErrnoException).code}`);
  }
  try {
    const read: unknown = JSON.parse(text);
    if (typeof read === "object" && read !== null && !Array.isArray(read)) return read as Providers;
  } catch {
    // said below
  }
  throw new Failure(`${path} is no catalogue of models.dev: {provider: {models: {model: {cost: …}}}}`);
}

function asPrices({ input, output, cache_read }: Cost, what: string): Wanted["prices"] | undefined {
  if (!(Number(input) > 0 || Number(output) > 0)) return undefined;
  return {
    input_cents_per_million: asCents(input, what),
    cached_input_cents_per_million: asCents(cache_read, what),
    output_cents_per_million: asCents(output, what),
  };
}

/** Dollars as cents, without a digit that the number as it is written does not have. */
function asCents(dollars: number | undefined, what: string): string | null {
  if (dollars === undefined) return null;
  if (typeof dollars !== "number" || !(dollars >= 0 && dollars < 1e9)) {
    throw new Failure(`${what} costs ${JSON.stringify(dollars)}, which is no price.`);
  }
  const [whole, fraction] = dollars.toFixed(12).split(".") as [string, string];
  const cents = `${whole}${fraction.slice(0, 2)}`.replace(/^0+(?=\d)/, "");
  const rest = fraction.slice(2).replace(/0+$/, "");
  return rest === "" ? cents : `${cents}.${rest}`;
}
