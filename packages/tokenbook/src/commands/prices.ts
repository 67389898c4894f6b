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
  type Wanted,
} from "../data/model-prices.ts";
import { readPrice, readPriceFile } from "../import/price-file.ts";
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

/** `tokenbook prices`: what models cost the project. */
export const prices = command("prices", "What models cost the project, from which moment on.")
  .addCommand(list)
  .addCommand(set)
  .addCommand(importPrices);

/** All in one transaction, that a dry run takes back. */
async function setAll(
  client: pg.Client,
  wanted: readonly Wanted[],
  reason: string,
  book: boolean,
): Promise<Set[]> {
  return await (book ? inTransaction : takenBack)(client, async () => {
    const all: Set[] = [];
    for (const one of wanted) all.push(await setPrice(client, one, reason));
    return all;
  });
}

function asLine({ model, isNew, changed, price }: Set): string {
  if (changed.length === 0) return `${model} costs that already.`;
  return `${model}${isNew ? " (new)" : ""}: ${changed.map((field) => `${field} ${price![field] ?? "unknown"}`).join(", ")}`;
}

function asTable(rows: readonly Price[]): string {
  const table = new Table({
    head: ["model", "from", "input", "cached", "output", "image", "minute", ""],
    colAligns: ["left", "left", "right", "right", "right", "right", "right", "left"],
    style: { head: [], border: [] },
  });
  for (const row of rows) {
    table.push([
      row.model,
      row.valid_from === "-infinity" ? "always" : row.valid_from.slice(0, 16),
      ...priceFields.map((field) => row[field] ?? "?"),
      row.state === "now" ? "" : row.state,
    ]);
  }
  return `${table.toString()}\nCents: of a million tokens, of an image, of a minute.`;
}
