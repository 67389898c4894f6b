/** Numbers that admins type: read as the console writes them, or said to be none. */
import { expect, test } from "vitest";
import { numbersOf } from "../../console/src/admin/numbers.ts";

type Reader = ReturnType<typeof numbersOf>;
const readers = new Map<string, Reader>();
const readerOf = (language: string) => {
  const reader = readers.get(language) ?? numbersOf(language);
  readers.set(language, reader);
  return reader;
};
const tokens = { isSigned: true, most: 1_000_000_000_000 };
const read = (text: string, language = "en-US", limits: Parameters<Reader["read"]>[1] = tokens) => {
  const { value, error } = readerOf(language).read(text, limits);
  return error ?? value;
};

test.each([
  ["597500", 597_500],
  ["597,500", 597_500],
  ["−597,500", -597_500], // as the ledger writes it
  ["-597,500", -597_500],
  ["+1,000", 1_000],
  ["\u200e−5\u200e ", -5],
  ["", null],
])("%s is %s", (text, value) => expect(read(text)).toBe(value));

test.each([
  ["1.5", "A whole number"],
  ["1e5", "Not a number. Write it as 1,234"],
  ["007", "Not a number. Write it as 1,234"],
  ["1,5", "Not a number. Write it as 1,234"],
  ["1 000", "Not a number. Write it as 1,234"],
  ["-", "Not a number. Write it as 1,234"],
  ["five", "Not a number. Write it as 1,234"],
  ["1G000", "Not a number. Write it as 1,234"],
  ["0", "Not 0"],
  ["1000000000001", "At most 1,000,000,000,000"],
  ["9007199254740993", "At most 1,000,000,000,000"],
])("%s is said: %s", (text, error) => expect(read(text)).toBe(error));

test("what may not be below 0, or has fewer decimals, is said so", () => {
  expect(read("-5", "en-US", { least: 1 })).toBe("At least 1");
  expect(read("-5", "en-US", {})).toBe("Not below 0");
  expect(read("9007199254740993", "en-US", {})).toBe("At most 9,007,199,254,740,991");
  expect(read("0.00000000000001", "en-US", { decimals: 12 })).toBe("At most 12 decimals");
  expect(read("49.505", "en-US", { decimals: 2, shift: 2 })).toBe("At most 2 decimals");
});

test("dollars are kept as cents, without a rounding", () => {
  const cents = { decimals: 14, shift: 2 };
  expect(read("0.003", "en-US", cents)).toBe(0.3);
  expect(read("1.005", "en-US", cents)).toBe(100.5);
  expect(read("49.50", "en-US", { decimals: 2, shift: 2 })).toBe(4_950);
  expect(numbersOf("en-US").write(0.3, cents)).toBe("0.003");
  expect(numbersOf("en-US").write(4_950, { decimals: 2, shift: 2 }, true)).toBe("49.50");
});

test("each language has its own signs", () => {
  expect(read("597.500", "de-DE")).toBe(597_500);
  expect(read("1.5", "de-DE")).toBe("Not a number. Write it as 1.234");
  expect(read("1.5", "de-DE", { decimals: 2 })).toBe("Not a number. Write it as 1.234,5");
  expect(read("1 000 000", "fr-FR")).toBe(1_000_000);
  expect(read("1'000", "de-CH")).toBe(1_000);
  expect(read("12,34,567", "en-IN")).toBe(1_234_567);
  expect(read("1,234,567", "en-IN")).toBe("Not a number. Write it as 1,234");
  expect(read("١٬٢٣٤", "ar-EG")).toBe(1_234);
});

const languages = [
  "en-US",
  "de-DE",
  "de-CH",
  "fr-FR",
  "es-ES",
  "pl-PL",
  "en-IN",
  "ar-EG",
  "fa-IR",
  "sv-SE",
  "ja-JP",
];
const samples = Array.from({ length: 400 }, (_, n) => (n % 2 === 0 ? 1 : -1) * Math.floor(1.07 ** n)).filter(
  (it) => Math.abs(it) <= tokens.most,
);
/** So many of what a console of a language writes are read as something else. */
const misread = (readIn: (text: string, language: string) => unknown) =>
  languages.flatMap((language) => {
    const signed = new Intl.NumberFormat(language, { signDisplay: "exceptZero" });
    return samples.filter((it) => readIn(signed.format(it).replace("-", "−"), language) !== it);
  }).length;

test("what a console writes, it reads, in every language", () => {
  console.log(`numbers=${samples.length * languages.length}, misread=${misread(read)}`);
  expect(misread(read)).toBe(0);
});

test("(known-bad) a field that drops what it does not know misreads them", () => {
  const wrong = misread((text) => Number(text.replaceAll(/[^\d.-]/g, "")));
  console.log(`numbers=${samples.length * languages.length}, misread by dropping=${wrong}`);
  expect(wrong).toBeGreaterThan(samples.length);
});
