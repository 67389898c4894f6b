/**
 * Everything that an app can import says in TSDoc what it is; what is called has an example. All examples compile as
 * they stand, and those of the client run against the real books.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { projectRoot } from "../../../scripts/project.ts";
import { startStack, type Stack } from "../../functions/stack.ts";
import { compile, makeFolder, namesIn, type Prelude } from "../../docs/snippets/folder.ts";
import { snippetsIn, where, type Snippet } from "../../docs/snippets/pages.ts";
import { entries, exportsOf, missing } from "./exports.ts";
import { givenFor } from "./given.ts";

const file = "tests/package/tsdoc/names.ts";
const prelude: Prelude = { file, names: namesOf(join(projectRoot, file)) };
const all = exportsOf(entries);

/** As strict as the compiler is; what an example makes it need not use. */
const strictest: ts.CompilerOptions = {
  noUncheckedIndexedAccess: true,
  exactOptionalPropertyTypes: true,
  noImplicitReturns: true,
  noFallthroughCasesInSwitch: true,
  noImplicitOverride: true,
};

/** An example that returns something stands in a component. */
const inComponent = (snippet: Snippet): Snippet =>
  /^return /m.test(snippet.text)
    ? { ...snippet, text: `export function Example() { ${snippet.text}\n}` }
    : snippet;

/** What the compiler says to examples. */
function saidTo(examples: readonly Snippet[]): string[] {
  const snippets = examples.map(inComponent);
  const folder = makeFolder(snippets, prelude);
  try {
    // an app sees the declarations of our sources, which are checked as strictly as this repository is
    return compile(folder, snippets, strictest).filter((line) => !line.startsWith(folder.path));
  } finally {
    folder.remove();
  }
}

test("every export and every method of the clients has words, and what is called an example", () => {
  const examples = all.flatMap((it) => it.examples);
  console.log(
    `exports=${all.length} called=${all.filter((it) => it.isCalled).length} examples=${examples.length}`,
  );
  expect(missing(all)).toEqual([]);
  expect(all.length).toBeGreaterThan(250);
});

test("every example compiles as it stands, at the strictest", { timeout: 120_000 }, () => {
  expect(saidTo(all.flatMap((it) => it.examples))).toEqual([]);
});

test("the test sees what has no words, an example that is missing, and one that does not compile", () => {
  const folder = mkdtempSync(join(tmpdir(), "tokenbook-tsdoc-"));
  try {
    const path = join(folder, "index.ts");
    writeFileSync(
      path,
      `export interface Silent { a: string }
/** Silence. */
export type Short = string;
/** A function without an example. */
export function bare(): void {}
/**
 * A function with two.
 *
 * @example
 * \`\`\`ts
 * const { total } = await books.balance();
 * \`\`\`
 * @example
 * books.balance();
 */
export function misled(): void {}
/** A function without an example. */
export interface Tokenbook { balance(): void; readonly plans: { list(): void } }
`,
    );
    const planted = exportsOf([path]);
    expect(missing(planted).toSorted()).toEqual([
      "Short has no sentence: Silence.",
      "Silent has no words",
      "Tokenbook has the words of another: A function without an example.",
      "Tokenbook.balance has no example",
      "Tokenbook.balance has no words",
      "Tokenbook.plans.list has no example",
      "Tokenbook.plans.list has no words",
      "bare has no example",
      "bare has the words of another: A function without an example.",
      "misled has an example that is no block of ts or tsx",
    ]);
    const [example] = planted.find(({ name }) => name === "misled")!.examples;
    expect(example!.line).toBe(10);
    expect(saidTo([{ ...example!, page: "planted.ts" }])).toEqual([
      "planted.ts:11: Property 'total' does not exist on type 'TokenBalance'.",
    ]);
  } finally {
    rmSync(folder, { recursive: true });
  }
}, 120_000);

/** What is compiled only, and why. */
const notHere: [RegExp, string][] = [
  [/^packages\/tokenbook\/src\/react\//, "components in a page: tests/react runs them"],
  [/^packages\/tokenbook\/src\/ai\//, "a provider's model: tests/ai runs them"],
  [/^Tokenbook\.(checkout|portal)$/, "a page of Stripe's: tests/functions/checkout asks for it"],
  [/^AdminBooks\.(dismiss|assign)Parked$/, "a payment that is parked: tests/payments/parked has some"],
];
const tried = all.flatMap(({ name, examples }) => examples.map((example) => ({ name, example })));
const reasonOf = ({ name, example }: (typeof tried)[number]) =>
  notHere.find(([of]) => of.test(name) || of.test(example.page))?.[1];

describe("the examples of the client", () => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack();
    await stack.db.admin.query(`
      insert into public.token_packs (pack_type, name, tokens, price_cents) values ('small', 'Small', 1000, 500);
      select public.set_token_referral_policy(p_referrer_tokens => 300, p_referred_tokens => 200)`);
  }, 120_000);
  afterAll(() => stack.close());

  /** Runs it, and gives what it showed. */
  async function run(name: string, { text }: Snippet): Promise<unknown[][]> {
    const shown: unknown[][] = [];
    const names = namesIn(text, prelude.names);
    const isForServer = /\buserId\b|forEveryone|\.revenue\(/.test(text);
    const given = await givenFor(stack, names, { name, isForServer, shown });
    const { outputText } = ts.transpileModule(`async function example() {\n${text}\n}`, {
      compilerOptions: { target: ts.ScriptTarget.ES2022 },
    });
    // what is run are the comments of this repository
    // oxlint-disable-next-line typescript/no-implied-eval
    const example = new Function(...names, `${outputText}\nreturn example();`) as (
      ...values: unknown[]
    ) => Promise<void>;
    await example(...names.map((it) => given[it]));
    return shown;
  }

  const here = tried.filter((it) => reasonOf(it) === undefined);
  test("what is compiled only wants what there is not here", () => {
    console.log(`run=${here.length} only compiled=${tried.length - here.length}`);
    expect(here.length).toBeGreaterThan(70);
    const named = tried.filter(({ example }) => !/\/(react|ai)\//.test(example.page));
    expect(named.filter((it) => reasonOf(it) !== undefined).map(({ name }) => name)).toEqual([
      "Tokenbook.checkout",
      "Tokenbook.portal",
      "AdminBooks.dismissParked",
      "AdminBooks.assignParked",
    ]);
  });

  test.each(here.map((it) => [`${it.name} at ${where(it.example)}`, it] as const))(
    "%s runs, refused nothing and short of nothing",
    async (_, { name, example }) => {
      expect(String(await run(name, example))).not.toContain("missing");
    },
    60_000,
  );

  test("an example that is refused is seen, and one that is short", async () => {
    const of = (text: string) => snippetsIn("planted.ts", `\`\`\`ts\n${text}\n\`\`\``)[0]!;
    await expect(run("planted", of("await books.deduct(0.5);"))).rejects.toThrow("invalid_amount");
    await expect(run("planted", of("await books.revenue({}).then(nobodyKnows);"))).rejects.toThrow(
      "nobodyKnows",
    );
    const short = of('if (!(await books.deduct(5_000_000)).success) show("some are missing");');
    expect(await run("planted", short)).toEqual([["some are missing"]]);
  });
});

/** The names that a module exports. */
function namesOf(path: string): string[] {
  const program = ts.createProgram([path], { noResolve: true, noLib: true });
  const checker = program.getTypeChecker();
  const module = checker.getSymbolAtLocation(program.getSourceFile(path)!)!;
  return checker.getExportsOfModule(module).map(({ name }) => name);
}
