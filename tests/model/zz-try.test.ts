import { expect, test } from "vitest";
import { booksWithAClock, check } from "./check.ts";
import { applyMutant } from "../support/mutants.ts";
test("try", async () => {
  const books = await booksWithAClock();
  if (process.env["MUTANT"]) await applyMutant(books, process.env["MUTANT"]);
  const began = Date.now();
  const n = Number(process.env["N"] ?? 200);
  try {
    const mix = await check(books, n, Number(process.env["MODEL_SEED"] ?? Date.now() % 2 ** 31));
    console.log(JSON.stringify(mix, null, 1), (Date.now() - began) / n, "ms a sequence");
  } catch (e) { console.log((e as Error).message.slice(0, 6000), "\nCAUSE", String((e as any).cause?.message ?? "").slice(0, 3000)); throw new Error("differs"); }
  finally { await books.drop(); }
}, 600_000);
