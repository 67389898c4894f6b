/**
 * The examples of docs/reference.md, taken out of the page and run as a reader pastes them: in SQL, TypeScript and curl, each
 * form against demo data of its own.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { projectRoot } from "../../scripts/project.ts";
import { type ApiFunction, describeApi } from "../../scripts/schema/api-description.ts";
import {
  everyAnswerFile,
  readShapes,
  type Shape,
  type Shapes,
} from "../../scripts/schema/reference/answer-shapes.ts";
import {
  askInSql,
  examples,
  loadDemo,
  placed,
  prepare,
  stable,
  type Stand,
} from "../../scripts/schema/reference/example-answers.ts";
import { takeApart } from "../../scripts/schema/reference/comment.ts";
import type { By, Json } from "../../scripts/schema/reference/example-calls.ts";
import { isCall } from "../../scripts/schema/reference/example-forms.ts";
import { writeAnswer } from "../../scripts/schema/reference/functions.ts";
import { compile, emit, type Folder, makeFolder } from "../docs/snippets/folder.ts";
import { type Snippet, snippetsIn, where } from "../docs/snippets/pages.ts";
import { runCurl, runFiles } from "../docs/snippets/run.ts";
import { adminClaims, startStack, type Stack } from "../functions/stack.ts";
import { type Schemas, schemasOfAnswers } from "../package/schemas.ts";
import { createDatabase } from "../support/database.ts";

const page = "docs/reference.md";
const ALICE = "a11ce000-0000-4000-8000-000000000001";
const ADMIN = "ad000000-0000-4000-8000-000000000003";

/** The forms of an example, and the answer that is shown, by the languages of their blocks. */
const forms = ["sql", "ts", "bash", "json"] as const;
type Form = (typeof forms)[number];
type Shown = Record<Form, Snippet>;

/** What a page shows under each function's heading. */
function examplesIn(markdown: string): Map<string, Partial<Shown>> {
  const lines = markdown.split("\n");
  const found = new Map<string, Partial<Shown>>();
  for (const line of lines) {
    const [, name] = /^### (\w+)$/.exec(line) ?? [];
    if (name) found.set(name, {});
  }
  for (const snippet of snippetsIn(page, markdown)) {
    const heading = lines.slice(0, snippet.line).findLast((line) => line.startsWith("### "));
    const shown = found.get(heading?.slice(4) ?? "");
    if (shown) shown[snippet.language as Form] = snippet;
  }
  return found;
}

/** The functions of which a form is missing on a page. */
const missingIn = (markdown: string, functions: readonly ApiFunction[]) => {
  const found = examplesIn(markdown);
  return functions.flatMap(({ name }) =>
    forms.filter((form) => found.get(name)?.[form] === undefined).map((form) => `${name}: ${form}`),
  );
};

const markdown = readFileSync(join(projectRoot, page), "utf8");
const shown = examplesIn(markdown) as Map<string, Shown>;
let functions: readonly ApiFunction[];
let shapes: Shapes;
let schemas: Schemas;
beforeAll(async () => {
  const db = await createDatabase();
  ({ functions } = await describeApi(db.url()));
  await db.drop();
  shapes = readShapes();
  schemas = schemasOfAnswers(everyAnswerFile, "EveryAnswer", "EveryRow");
});

/** What is wrong with an answer: with its type, or beside the one that is shown. */
function faultsOf({ name }: ApiFunction, answer: Json): string[] {
  const typed = isCall(examples[name]!) ? answer : (answer as Record<string, Json>[])[0]![name]!;
  const isTyped = name in shapes.answers;
  const documented = JSON.parse(shown.get(name)!.json.text) as Json;
  if (typeof documented !== typeof answer) return [`${name} is ${JSON.stringify(answer)}`];
  return [(isTyped && schemas.faultOf(name, typed)) || [], differences(documented, answer, name)].flat();
}

/** Which fields one of two answers has and the other has not; what is in the fields is told by the types. */
function differences(documented: Json, answer: Json, at: string): string[] {
  const [left, right] = [documented, answer].map(rowsOf);
  const keys = new Set([...left!, ...right!].flatMap((row) => Object.keys(row)));
  return right!.flatMap((row, n) =>
    [...keys].flatMap((key) => {
      const isShown = left!.length === 0 || left!.some((one) => key in one);
      if (isShown && key in row) return [];
      return [
        `${at}${Array.isArray(answer) ? `[${n}]` : ""}.${key} is ${isShown ? "not answered" : "not shown"}`,
      ];
    }),
  );
}

const rowsOf = (answer: Json) =>
  [answer].flat().filter((row): row is Record<string, Json> => typeof row === "object" && row !== null);

test("every function has an example in each form, and its answer", () => {
  console.log(`functions=${functions.length} examples=${functions.length * 3}`);
  expect(missingIn(markdown, functions)).toEqual([]);
});

/** Fields that a comment promises and no answer has, and those that answers always have and it does not name. */
const misreported = ({ name, columns }: ApiFunction, text: string) => {
  const comment = takeApart(text);
  const fields =
    columns?.map((column) => ({ name: column.name, isAlways: true })) ?? ofShape(shapes.answers[name]);
  const said = [...comment.fields.keys()].filter((path) => !path.includes("."));
  if (said.length === 0) return [];
  return [
    ...[...comment.fields.keys()]
      .filter((path) => !hasField(columns, name, path))
      .map((path) => `${name} does not answer ${path}`),
    ...(comment.isComplete || columns !== null ? fields : [])
      .filter((field) => field.isAlways && !said.includes(field.name))
      .map((field) => `the comment of ${name} does not say ${field.name}`),
  ];
};
const ofShape = (shape: Shape | undefined) => (shape === undefined ? [] : shapes.fieldsOf(shape));
const hasField = (columns: ApiFunction["columns"], name: string, path: string) => {
  if (columns !== null) return columns.some((column) => column.name === path);
  let at = [shapes.answers[name]!];
  for (const step of path.replaceAll("[]", "").split(".")) {
    at = at.flatMap((shape) => ofShape(shape).find((field) => field.name === step)?.types ?? []);
  }
  return at.length > 0;
};

test("what a comment says a function returns is what its answer has", () => {
  expect(functions.flatMap((fn) => misreported(fn, fn.comment!))).toEqual([]);
});

test("a comment that promises another field, or leaves one out, is seen", () => {
  const fn = functions.find(({ name }) => name === "check_token_trial")!;
  expect(misreported(fn, fn.comment!.replace("reduced_percent", "percent"))).toEqual([
    "check_token_trial does not answer percent",
    "the comment of check_token_trial does not say reduced_percent",
  ]);
});

describe("in SQL", () => {
  test("each answers exactly what is shown", async () => {
    const db = await createDatabase();
    await loadDemo(db.admin);
    const client = await db.admin.connect();
    const others: string[] = [];
    for (const fn of functions) {
      const { sql, json } = shown.get(fn.name)!;
      await client.query("begin");
      const { answer, stand } = await askInSql(client, fn, sql.text);
      await client.query("rollback");
      const is = writeAnswer(fn.name, stable(fn.name, answer, stand), shapes);
      if (is !== json.text) others.push(`${where(json)}: ${is}`);
      others.push(...faultsOf(fn, answer));
    }
    expect(others).toEqual([]);

    const wrong = shown.get("deduct_tokens_with_fifo")!.sql.text.replace("p_tokens_to_deduct", "p_tokens");
    await expect(client.query(wrong)).rejects.toMatchObject({ code: "42883" });
    client.release();
    await db.drop();
  });
});

/** A stack with the demo data, and with what the examples need; what stands in each for what is shown. */
async function startDemo(): Promise<{
  stack: Stack;
  stands: Map<string, Stand>;
  tokens: Record<By, string>;
}> {
  const stack = await startStack();
  await loadDemo(stack.db.admin);
  const tokens = {
    user: await stack.token(ALICE),
    admin: await stack.token(ADMIN, adminClaims),
    server: "",
  };
  const stands = new Map<string, Stand>();
  for (const { name } of functions) {
    const example = examples[name]!;
    if (isCall(example) && example.given) await stack.db.admin.query(example.given.sql());
    const stand = await prepare(example, async ({ by, call, args }, standing) => {
      const response = await fetch(`${stack.url}/rest/v1/rpc/${call}`, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          apikey: by === "server" ? stack.keys.secretKey : stack.keys.publishableKey,
          ...(by !== "server" && { authorization: `Bearer ${tokens[by]}` }),
        },
        body: placed(JSON.stringify(args), standing),
      });
      const text = await response.text();
      if (!response.ok) throw new Error(`${call}, before ${name}: ${text}`);
      return JSON.parse(text) as Json;
    });
    stands.set(name, stand);
  }
  return { stack, stands, tokens };
}

describe("in TypeScript", () => {
  let demo: Awaited<ReturnType<typeof startDemo>>;
  let folder: Folder;
  const wrong = { page: "planted", line: 1, language: "ts", isClosed: true };
  let snippets: Snippet[];
  beforeAll(async () => {
    demo = await startDemo();
    const right = shown.get("deduct_tokens_with_fifo")!.ts;
    snippets = [
      ...functions.map(({ name }) => {
        const { ts } = shown.get(name)!;
        return { ...ts, text: placed(ts.text, demo.stands.get(name)!) };
      }),
      { ...wrong, text: right.text.replace("p_tokens_to_deduct", "p_tokens") },
    ];
    folder = makeFolder(snippets);
  });
  afterAll(async () => {
    folder.remove();
    await demo.stack.close();
  });

  test("each compiles, and one with a wrong name does not", () => {
    const said = compile(folder, snippets);
    expect(said.filter((it) => !it.startsWith("planted:"))).toEqual([]);
    expect(said.join()).toContain("'p_tokens' does not exist");
  });

  test("each is answered in the shape that is shown, and one with a wrong name is refused", async () => {
    emit(folder);
    const files = snippets.map((snippet) => folder.fileOf(snippet).replace(/\.ts$/, ".js"));
    const ran = await runFiles(files, folder, demo.stack);
    const faults = functions.flatMap((fn, n) => {
      const { refused, answers } = ran[n]!;
      if (refused.length > 0 || answers.length !== 1)
        return [`${fn.name}: ${refused.join(" ")} ${answers.length}`];
      return faultsOf(fn, answers[0] as Json);
    });
    expect(faults).toEqual([]);
    expect(ran.at(-1)!.refused.join()).toMatch(/PGRST202/);
  });
});

describe("by curl", () => {
  test("each is answered in the shape that is shown, and one with a wrong name is refused", async () => {
    const { stack, stands, tokens } = await startDemo();
    const folder = makeFolder([]);
    const ask = async (text: string) =>
      runCurl(text, folder, stack, { USER_TOKEN: tokens.user, ADMIN_TOKEN: tokens.admin });
    const faults: string[] = [];
    for (const fn of functions) {
      const { status, body } = await ask(placed(shown.get(fn.name)!.bash.text, stands.get(fn.name)!));
      if (status !== 200) faults.push(`${fn.name}: ${status} ${body}`);
      else faults.push(...faultsOf(fn, JSON.parse(body) as Json));
    }
    expect(faults).toEqual([]);
    const wrong = shown.get("deduct_tokens_with_fifo")!.bash.text.replace("p_tokens_to_deduct", "p_tokens");
    expect(await ask(wrong)).toMatchObject({ status: 404, body: expect.stringContaining("PGRST202") });
    folder.remove();
    await stack.close();
  });
});

describe("known-bad pages", () => {
  test("a function whose example lacks a form is seen", () => {
    const without = markdown.replace(shown.get("redeem_token_code")!.bash.text, "");
    const bash = /```bash\n\n```/;
    expect(without).toMatch(bash);
    expect(missingIn(without.replace(bash, ""), functions)).toEqual(["redeem_token_code: bash"]);
  });

  test("an answer with a field more, or without one, is seen", () => {
    const fn = functions.find(({ name }) => name === "check_token_trial")!;
    const answer = JSON.parse(shown.get(fn.name)!.json.text) as Record<string, Json>;
    const { trial: _, ...less } = answer;
    expect(faultsOf(fn, answer)).toEqual([]);
    expect(faultsOf(fn, { ...answer, planted: 1 }).length).toBeGreaterThan(0);
    expect(faultsOf(fn, less).length).toBeGreaterThan(0);
    const rows = functions.find(({ name }) => name === "get_users_with_low_token_balance")!;
    expect(faultsOf(rows, [{ user_id: ALICE }])).toContain(`${rows.name}[0].email is not answered`);
  });
});
