/**
 * Every block of code of README and guides is something: TypeScript that compiles from an empty folder, a command that
 * there is, SQL or a request that tests/examples/snippets.test.ts runs, or output. None is passed over.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import packageJson from "../../../package.json" with { type: "json" };
import { projectRoot } from "../../../scripts/project.ts";
import { commandsIn, faultOf } from "./commands.ts";
import { compile, makeFolder } from "./folder.ts";
import { guides, pages, snippetsIn, snippetsOf, where, type Snippet } from "./pages.ts";

const every = guides.flatMap(snippetsOf);
const of = (...languages: string[]) => every.filter(({ language }) => languages.includes(language));

/** What a block may be, and what becomes of it. */
const languages: Record<string, string> = {
  ts: "compiled here, and run by tests/examples/snippets.test.ts",
  tsx: "compiled here; examples/react is run by tests/react",
  sql: "run by tests/examples/snippets.test.ts",
  bash: "its commands are looked up here; curl is run by tests/examples/snippets.test.ts",
  console: "commands and what they print: the commands are looked up here",
  json: "what is answered: parsed here",
  text: "what is printed",
};

/** What is wrong with the fences of a page. */
const faultsOf = (snippets: readonly Snippet[]): string[] =>
  snippets.flatMap((snippet) => [
    ...(snippet.isClosed ? [] : [`${where(snippet)} is not closed`]),
    ...(snippet.language in languages || snippet.language === "mermaid"
      ? []
      : [`${where(snippet)} is in no language that is known: "${snippet.language}"`]),
  ]);

test("every block of every page is closed and says its language", () => {
  const all = pages.flatMap(snippetsOf);
  const counted: Record<string, number> = {};
  for (const { language } of every) counted[language] = (counted[language] ?? 0) + 1;
  console.log(`pages=${pages.length} blocks=${all.length}; of README and guides ${JSON.stringify(counted)}`);
  expect(faultsOf(all)).toEqual([]);
  expect(every.length).toBeGreaterThan(90);
});

test("the test sees a fence that is never closed, and a block without a language", () => {
  const page = "# A\n\n- a list\n\n  ```ts\n  one();\n  ```\n\n```\nwhat\n```\n\n```sql\nselect 1;\n\n## B\n";
  expect(snippetsIn("a.md", page).map(({ line }) => line)).toEqual([5, 9, 13]);
  expect(faultsOf(snippetsIn("a.md", page))).toEqual([
    'a.md:9 is in no language that is known: ""',
    "a.md:13 is not closed",
  ]);
});

test("every snippet in TypeScript compiles, strictly, from an empty folder", { timeout: 60_000 }, () => {
  const snippets = of("ts", "tsx");
  const folder = makeFolder(snippets);
  try {
    console.log(`snippets=${snippets.length}`);
    expect(compile(folder, snippets)).toEqual([]);
  } finally {
    folder.remove();
  }
});

test(
  "the compiler sees a wrong name, a wrong argument and a package that is not there",
  { timeout: 60_000 },
  () => {
    const wrong = snippetsIn(
      "a.md",
      [
        'await server.rpc("deduct_tokens", { p_user_id: user.id });',
        'await server.rpc("deduct_tokens_with_fifo", { p_user_id: user.id, p_tokens: 5 });',
        'await server.from("token_plans").select("plan_typ").single().then(({ data }) => data!.plan_type);',
        'import { parse } from "csv-parse";',
        "show(nobodyKnows);",
      ]
        .map((line) => `\`\`\`ts\n${line}\n\`\`\`\n`)
        .join("\n"),
    );
    const folder = makeFolder(wrong);
    try {
      const said = compile(folder, wrong).map((line) => Number(line.split(":")[1]));
      expect([...new Set(said)].toSorted((a, b) => a - b)).toEqual([2, 6, 10, 14, 18]);
    } finally {
      folder.remove();
    }
  },
);

test("every command that a page shows is there, with the options that it shows", () => {
  const commands = of("bash", "console").flatMap((snippet) =>
    commandsIn(snippet).map((command) => ({ at: where(snippet), command })),
  );
  console.log(`commands=${commands.length}`);
  expect(commands.length).toBeGreaterThan(30);
  expect(commands.flatMap(({ at, command }) => faultOf(command).map((fault) => `${at}: ${fault}`))).toEqual(
    [],
  );
  expect(
    [
      "npx tokenbook balance",
      "npx tokenbook check --quickly",
      "npm run nothing",
      "npm run export -- --everything",
      "make install",
    ].flatMap(faultOf),
  ).toEqual([
    "npx tokenbook balance: there is no such command",
    "npx tokenbook check --quickly: there is no option --quickly",
    "npm run nothing: there is no such script",
    "npm run export -- --everything: there is no option --everything",
    "make install: not a command that is looked up",
  ]);
  expect(packageJson.scripts).toHaveProperty("start");
});

test("what is answered is JSON", () => {
  for (const snippet of of("json")) expect(() => JSON.parse(snippet.text), where(snippet)).not.toThrow();
});

test("every example is run by a test", () => {
  const tests = readFileSync(join(projectRoot, "tests/examples/sql.test.ts"), "utf8");
  expect(tests).toMatch(/readdir/); // each .sql of the folder
  const read = (name: string) => readFileSync(join(projectRoot, "tests/examples", name), "utf8");
  expect(read("streaming.test.ts")).toContain("charge-a-stream.ts");
  expect(read("ai.test.ts")).toContain("charge-calls.ts");
  expect(read("stripe-events.test.ts")).toContain("post-an-invoice.ts");
  expect(read("../react/react.test.ts")).toContain("examples/react/main.tsx");
});
