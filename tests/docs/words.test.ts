import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { projectRoot } from "../../scripts/project.ts";

const under = (folder: string, kind: RegExp) =>
  readdirSync(join(projectRoot, folder), { recursive: true, encoding: "utf8" })
    .map((name) => join(folder, name))
    .filter((name) => kind.test(name));

/** Words that name no user and no caller, with the line they are in. Names with hyphens are files. */
const vague = (text: string) =>
  text
    .split("\n")
    .filter((line) =>
      /\b(he|his|him|himself|she|her|hers|herself|whoever)\b/i.test(line.replaceAll(/\w+(-\w+)+/g, "")),
    )
    .map((line) => line.trim().slice(0, 120));

const found = (files: string[], proseOf = (text: string) => text) =>
  files.flatMap((file) =>
    vague(proseOf(readFileSync(join(projectRoot, file), "utf8"))).map((line) => `${file}: ${line}`),
  );

test("a user is they, or named, on every page", () => {
  const pages = [
    ...readdirSync(projectRoot).filter((name) => name.endsWith(".md")),
    ...under("docs", /\.md$/),
    ...under("examples", /\.(md|sql|ts|out)$/),
  ];

  expect(found(pages, (text) => text.replaceAll(/^```[^]*?^```/gm, ""))).toEqual([]);
});

test("and in the names and comments of tests", () => {
  const files = under("tests", /\.(ts|tsx|sql)$/).filter((file) => file !== "tests/docs/words.test.ts");

  expect(found(files)).toEqual([]);
});

test("what names nobody is seen", () => {
  expect(
    vague("Whoever has it\nthe user has it\nso HE may\nanswer-whoever-asks, this\nhis-own and his"),
  ).toEqual(["Whoever has it", "so HE may", "his-own and his"]);
});
