/** Prices of models as a file has them: CSV with a header, or a JSON array of objects, by the names of the columns. */
import { readFileSync } from "node:fs";
import { parse } from "csv-parse/sync";
import { Failure } from "local-platform/terminal/failure";
import { readMoment } from "../data/moment.ts";
import { priceFields, type PriceField, type Wanted } from "../data/model-prices.ts";

/**
 * @throws Failure when it cannot be read, or has a column that is none; with the line.
 */
export function readPriceFile(path: string): Wanted[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8").replace(/^\uFEFF/, "");
  } catch (error) {
    throw new Failure(`${path} cannot be read: ${(error as NodeJS.ErrnoException).code}`);
  }
  const isJson = path.endsWith(".json");
  const rows = isJson ? jsonRows(text, path) : csvRows(text, path);
  if (rows.length === 0) throw new Failure(`${path} has no prices.`);
  const wanted = rows.map((row, nth) => asWanted(row, isJson ? `entry ${nth + 1}` : `line ${nth + 2}`));
  const twice = wanted.find(({ model }, nth) => wanted.findIndex((other) => other.model === model) !== nth);
  if (twice) throw new Failure(`${twice.model} is in ${path} twice.`);
  return wanted;
}

type Row = Record<string, unknown>;

function csvRows(text: string, path: string): Row[] {
  try {
    return parse(text, { columns: namedOnce, skip_empty_lines: true, trim: true }) as Row[];
  } catch (error) {
    throw new Failure(`${path} is no CSV: ${(error as Error).message}`);
  }
}

function namedOnce(names: string[]): string[] {
  const twice = names.find((name, nth) => names.indexOf(name) !== nth);
  if (twice !== undefined) throw new Error(`it has two columns ${twice}`);
  return names;
}

function jsonRows(text: string, path: string): Row[] {
  let rows: unknown;
  try {
    rows = JSON.parse(text);
  } catch (error) {
    throw new Failure(`${path} is no JSON: ${(error as Error).message}`);
  }
  if (!Array.isArray(rows) || rows.some((row) => typeof row !== "object" || row === null)) {
    throw new Failure(`${path} is no array of objects.`);
  }
  return rows as Row[];
}

/** An empty cell leaves a price as it is; `null`, or the word unknown, takes it away. */
function asWanted(row: Row, where: string): Wanted {
  const { model: said, valid_from, ...rest } = row;
  const unknown = Object.keys(rest).find((name) => !(priceFields as readonly string[]).includes(name));
  if (unknown !== undefined) {
    throw new Failure(
      `There is no price ${unknown} (${where}). There are: model, valid_from, ${priceFields.join(", ")}.`,
    );
  }
  const model = typeof said === "string" ? said.trim() : "";
  if (model === "") throw new Failure(`${where} names no model.`);
  const prices: Wanted["prices"] = {};
  for (const [field, value] of Object.entries(rest) as [PriceField, unknown][]) {
    if (value === "" || value === undefined) continue;
    prices[field] = readPrice(value, `${model}, ${field} (${where})`);
  }
  return {
    model,
    prices,
    validFrom:
      valid_from === "" || valid_from === undefined || valid_from === null
        ? undefined
        : readFrom(valid_from, `${model} (${where})`),
  };
}

/** @throws Failure when it is no moment: a price that begins later would begin now. */
function readFrom(value: unknown, what: string): string {
  const moment = typeof value === "string" ? readMoment(value) : undefined;
  if (moment === undefined) {
    throw new Failure(`${what}: ${JSON.stringify(value)} is no moment. It looks like 2027-01-01T00:00Z.`);
  }
  return moment.text;
}

/** @throws Failure when it is no price. */
export function readPrice(value: unknown, what: string): string | null {
  if (value === null || value === "unknown") return null;
  const text = String(value);
  if (!/^\d+(\.\d+)?(e-?\d+)?$/.test(text)) throw new Failure(`${what} is no number of cents: ${text}`);
  return text;
}
