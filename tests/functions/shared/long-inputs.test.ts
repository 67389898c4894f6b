// @module-tag proof
/** What edge functions read of a request takes time in proportion to its length, whatever is in it. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { expect, test } from "vitest";
import { projectRoot } from "../../../scripts/project.ts";
import { readJson } from "../../../supabase/functions/_shared/body.ts";

/** How long the texts are. What begins anew at each character takes a second or more of that many, the rest a millisecond. */
const LENGTH = 40_000;
const AT_MOST_MS = 100;

/** In milliseconds of this process, which what else runs on the machine does not prolong. */
async function cpuOf(work: () => unknown): Promise<number> {
  const before = process.cpuUsage();
  await work();
  return process.cpuUsage(before).user / 1_000;
}

/** Every pattern that stands in a source of the edge functions. */
function patternsOf(file: string, text: string): { where: string; pattern: RegExp }[] {
  const found: { where: string; pattern: RegExp }[] = [];
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const visit = (node: ts.Node): void => {
    if (ts.isRegularExpressionLiteral(node)) {
      const [, body, flags] = /^\/(.*)\/([a-z]*)$/s.exec(node.text)!;
      const { line } = source.getLineAndCharacterOfPosition(node.getStart());
      found.push({ where: `${file}:${line + 1} ${node.text}`, pattern: new RegExp(body!, flags) });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** Texts that are long because one or two characters that the pattern knows are in them again and again, and end otherwise. */
function* textsFor({ source }: RegExp): Generator<string> {
  const known = [...new Set(`${source.replace(/\\[a-zA-Z]/g, "")}a0 _`)].filter(
    (it) => !"^$()|?*+".includes(it),
  );
  for (const one of known)
    for (const two of ["", ...known.slice(0, 6)])
      for (const [start, end] of [
        ["", "\u0001"],
        ["\u0001", "\u0001"],
        ["", "\\"],
      ] as const)
        yield start + (one + two).repeat(LENGTH / (1 + two.length)) + end;
}

/** The patterns that take too long for some text, as a replacement of all matches makes them look everywhere. */
async function slowOnes(patterns: { where: string; pattern: RegExp }[]): Promise<string[]> {
  const slow: string[] = [];
  for (const { where, pattern } of patterns) {
    const everywhere = new RegExp(pattern.source, [...new Set(`${pattern.flags}g`)].join(""));
    for (const text of textsFor(pattern)) {
      const ms = await cpuOf(() => text.replaceAll(everywhere, ""));
      if (ms <= AT_MOST_MS) continue;
      slow.push(`${where} takes ${Math.round(ms)} ms of CPU for ${JSON.stringify(text.slice(0, 8))}…`);
      break;
    }
  }
  return slow;
}

test("no pattern of the edge functions takes longer than in proportion", async () => {
  const folder = join(projectRoot, "supabase/functions");
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((it) => it.endsWith(".ts"));
  const patterns = files.flatMap((file) => patternsOf(file, readFileSync(join(folder, file), "utf8")));
  const slow = await slowOnes(patterns);

  console.log(`patterns=${patterns.length} files=${files.length} slow=${slow.length}`);
  expect(slow).toEqual([]);
  expect(patterns.length).toBeGreaterThan(10);
}, 120_000);

test("the test sees it: patterns that begin anew at each character", async () => {
  const bad = String.raw`text.replace(/0+$/, ""); text.replace(/\/+$/, ""); text.split(/\s*,\s*/); /^(a+)+$/;`;
  const patterns = patternsOf("bad.ts", bad).slice(0, 3); // the last would never end

  expect(await slowOnes(patterns)).toHaveLength(3);
}, 60_000);

/** Bodies as long as any function takes, each made to be read again and again. */
const bodies: Record<string, string> = {
  "a number with zeros before its end": `{"quantity":1.${"0".repeat(65_000)}1}`,
  "a number of nothing but digits": `{"quantity":${"1".repeat(65_000)}}`,
  "numbers with zeros": `[${Array.from({ length: 160 }, () => `1.${"0".repeat(390)}1`).join(",")}]`,
  "an exponent of zeros": `{"quantity":1e-${"0".repeat(65_000)}1}`,
  "blanks behind texts": `["a"${" ".repeat(65_000)}]`,
  backslashes: `["${"\\\\".repeat(32_000)}"]`,
  quotes: `["${'\\"'.repeat(32_000)}"]`,
  "many members": `{${Array.from({ length: 8_000 }, (_, i) => `"${i}":0`).join(",")}}`,
  "arrays in arrays": "[".repeat(5_000) + "]".repeat(5_000),
};

test.each(Object.entries(bodies))("a body is read in proportion to its length: %s", async (_name, body) => {
  const ask = () =>
    readJson(
      new Request("http://localhost", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body,
      }),
    ).catch((refusal: Error) => refusal);
  await ask(); // what is made at the first call
  const ms = await cpuOf(ask);

  expect(ms).toBeLessThan(AT_MOST_MS);
});

test("a number longer than any is refused by its length", async () => {
  const body = `{"quantity":1.${"0".repeat(400)}}`;
  const refusal = await readJson(
    new Request("http://localhost", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
    }),
  ).catch((it: Error) => it);

  expect(refusal).toMatchObject({
    slug: "invalid_request",
    facts: { field: "quantity", rule: "a number of at most 400 characters" },
  });
});
