import type pg from "pg";
import Table from "cli-table3";
import { Failure } from "local-platform/terminal/failure";
import { byWhom, command, databaseCommand, onDatabase } from "../command.ts";
import { inTransaction, takenBack } from "../data/client.ts";
import {
  listPrices,
  priceFields,
  setPrice,
  type Price,
  type Set,
  type Source,
  type Wanted,
} from "../data/model-prices.ts";
import { readPrice, readPriceFile } from "../import/price-file.ts";
import { makers, readCatalogue } from "../prices/catalogue.ts";
import { count } from "../terminal/progress.ts";
import { createVoice } from "../terminal/voice.ts";

const list = databaseCommand("list", "What each model costs now, and what is planned.")
  .option("--history", "former prices too")
  .option("--json", "for machines")
  .action(async ({ history, json, ...where }) => {
    await onDatabase(where, async (client) => {
      const prices = (await listPrices(client)).filter(({ state }) => history || state !== "past");
      createVoice(json).report({ prices }, () =>
        prices.length === 0
          ? "No model has a price: every cost is unknown. npx tokenbook prices import <file>"
          : asTable(prices),
      );
    });
  });

const fieldOption = "cents; or: unknown";
const set = databaseCommand(
  "set",
  "Gives a model a price, from now or from a moment to come.",
  "What is left out stays as it is. Former prices stay, and so does what was booked at them.",
)
  .argument("<model>", "as usage names it")
  .option("--input <cents>", `a million input tokens, in ${fieldOption}`)
  .option("--cached <cents>", "a million input tokens that the provider had cached")
  .option("--output <cents>", "a million output tokens")
  .option("--image <cents>", "an image")
  .option("--minute <cents>", "a minute of audio")
  .option("--valid-from <moment>", "when it begins, as 2027-01-01T00:00Z; left out: now")
  .option("--reason <text>", "why, for the history")
  .option("--json", "for machines")
  .action(async (model, { input, cached, output, image, minute, validFrom, reason, json, ...where }) => {
    const { say, answer } = createVoice(json);
    const given = [input, cached, output, image, minute];
    if (given.every((one) => one === undefined))
      throw new Failure("Say a price: --input, --output, … (--help)");
    const prices: Wanted["prices"] = {};
    for (const [nth, field] of priceFields.entries()) {
      if (given[nth] !== undefined) prices[field] = readPrice(given[nth], field);
    }
    await onDatabase(where, async (client) => {
      const done = await setPrice(client, { model, prices, validFrom }, reason ?? byWhom("prices set"));
      say(asLine(done));
      answer({ ...done });
    });
  });

const importPrices = databaseCommand(
  "import",
  "Prices of many models from a file: a dry run, then --book.",
  `CSV with a header, or a JSON array: model, ${priceFields.join(", ")}, and valid_from where a price begins later. An empty
cell leaves a price as it is, the word unknown takes it away. All or nothing; models that are not in the file, and
former prices, stay. The same file again changes nothing.`,
)
  .argument("<file>", ".csv or .json")
  .option("--book", "sets them; without it nothing is changed")
  .option("--reason <text>", "why, for the history")
  .option("--json", "for machines")
  .action(async (file, { book = false, reason, json, ...where }) => {
    const wanted = readPriceFile(file);
    await onDatabase(where, async (client) => {
      const all = await setAll(client, wanted, reason ?? byWhom(`prices import ${file}`), book);
      const changed = all.filter((one) => one.changed.length > 0);
      createVoice(json).report({ booked: book, models: all.length, changed }, () =>
        [
          ...changed.map(asLine),
          `${count(changed.length, "price")} of ${count(all.length, "model")} ${book ? "set" : "would be set"}, ${all.length - changed.length} as they are.`,
          ...(book || changed.length === 0 ? [] : ["Nothing was changed. To set them: --book"]),
        ].join("\n"),
      );
    });
  });

const sync = databaseCommand(
  "sync",
  "Prices as models.dev lists them: a dry run that shows the differences, then --book.",
  `From the snapshot that ships with this version, or from a file as models.dev publishes it (api.json). A price that was
set by hand stays, whatever is listed; so do models that are not listed. The same again changes nothing.`,
)
  .option("--file <file>", "api.json of models.dev; left out: the snapshot")
  .option("--provider <names...>", `whose prices; left out: ${makers.join(", ")}`)
  .option("--book", "sets them; without it nothing is changed")
  .option("--reason <text>", "why, for the history")
  .option("--json", "for machines")
  .action(async ({ file, provider = [...makers], book = false, reason, json, ...where }) => {
    const { from, wanted } = readCatalogue(file, provider);
    await onDatabase(where, async (client) => {
      const before = new Map(
        (await listPrices(client))
          .filter(({ state }) => state === "now")
          .map((price) => [price.model, price]),
      );
      const all = await setAll(
        client,
        wanted,
        reason ?? byWhom(`prices sync: ${from}`).slice(0, 500),
        book,
        "synced",
      );
      const changed = all.filter((one) => one.changed.length > 0);
      const kept = all.filter((one) => one.isManual).map(({ model }) => model);
      createVoice(json).report({ from, booked: book, models: all.length, changed, manual: kept }, () =>
        [
          `From ${from}.`,
          ...(changed.length === 0 ? [] : [asDifferences(changed, before)]),
          `${count(changed.length, "price")} of ${count(all.length, "model")} ${book ? "set" : "would be set"}, ${all.length - changed.length - kept.length} as they are, ${kept.length} set by hand and left alone.`,
          ...(book || changed.length === 0 ? [] : ["Nothing was changed. To set them: --book"]),
        ].join("\n"),
      );
    });
  });

/** `tokenbook prices`: what models cost the project. */
export const prices = command("prices", "What models cost the project, from which moment on.")
  .addCommand(list)
  .addCommand(set)
  .addCommand(importPrices)
  .addCommand(sync);

/** All in one transaction, that a dry run takes back. */
async function setAll(
  client: pg.Client,
  wanted: readonly Wanted[],
  reason: string,
  book: boolean,
  source: Source = "manual",
): Promise<Set[]> {
  return await (book ? inTransaction : takenBack)(client, async () => {
    const all: Set[] = [];
    for (const one of wanted) all.push(await setPrice(client, one, reason, source));
    return all;
  });
}

function asLine({ model, isNew, changed, price }: Set): string {
  if (changed.length === 0) return `${model} costs that already.`;
  const fields = changed.filter((field) => field !== "source");
  if (fields.length === 0) return `${model} costs that already, and is set by hand now.`;
  return `${model}${isNew ? " (new)" : ""}: ${fields.map((field) => `${field} ${price![field] ?? "unknown"}`).join(", ")}`;
}

function asTable(rows: readonly Price[]): string {
  const table = new Table({
    head: ["model", "from", "input", "cached", "output", "image", "minute", "set", ""],
    colAligns: ["left", "left", "right", "right", "right", "right", "right", "left", "left"],
    style: { head: [], border: [] },
  });
  for (const row of rows) {
    table.push([
      row.model,
      row.valid_from === "-infinity" ? "always" : row.valid_from.slice(0, 16),
      ...priceFields.map((field) => row[field] ?? "?"),
      row.source === "synced" ? "by sync" : "by hand",
      row.state === "now" ? "" : row.state,
    ]);
  }
  return `${table.toString()}\nCents: of a million tokens, of an image, of a minute.`;
}

/** What a sync changes, a row a model; of the prices that a catalogue has. */
function asDifferences(changed: readonly Set[], before: ReadonlyMap<string, Price>): string {
  const fields = [
    "input_cents_per_million",
    "cached_input_cents_per_million",
    "output_cents_per_million",
  ] as const;
  const table = new Table({
    head: ["model", "input", "cached", "output"],
    colAligns: ["left", "right", "right", "right"],
    style: { head: [], border: [] },
  });
  for (const { model, isNew, changed: differ, price } of changed) {
    table.push([
      isNew ? `${model} (new)` : model,
      ...fields.map((field) => {
        const now = String(price?.[field] ?? "?");
        return isNew || !differ.includes(field) ? now : `${before.get(model)?.[field] ?? "?"} → ${now}`;
      }),
    ]);
  }
  return `${table.toString()}\nCents of a million tokens.`;
}
