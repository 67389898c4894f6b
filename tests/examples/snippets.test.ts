// @module-tag proof
/** The snippets of README and guides, run as they stand: against a database with the demo data, and the API before it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { projectRoot } from "../../scripts/project.ts";
import { adminClaims, startStack, type Stack } from "../functions/stack.ts";
import { giveFreePlanAtRegistration } from "../support/plans.ts";
import { emit, makeFolder, type Folder } from "../docs/snippets/folder.ts";
import { runCurl, runFile } from "../docs/snippets/run.ts";
import { guides, snippetsOf, where, type Snippet } from "../docs/snippets/pages.ts";

const ALICE = "a11ce000-0000-4000-8000-000000000001";
const GRACE = "94ace000-0000-4000-8000-000000000008";
const ADMIN = "ad000000-0000-4000-8000-000000000003";
const DAVE = "dafe0000-0000-4000-8000-000000000005";

let stack: Stack;
let folder: Folder;
const every = guides.flatMap(snippetsOf);
const inTypeScript = every.filter(({ language }) => language === "ts");
beforeAll(async () => {
  stack = await startStack();
  await giveFreePlanAtRegistration(stack.db);
  for (const file of ["supabase/seed.sql", "scripts/sql/broken-books.sql"])
    await stack.db.admin.query(readFileSync(join(projectRoot, file), "utf8"));
  folder = makeFolder(inTypeScript);
  emit(folder);
}, 60_000);
afterAll(async () => {
  folder.remove();
  await stack.close();
});

/** What a snippet wants that is not here; it is compiled all the same. */
const notHere: Record<string, RegExp> = {
  "somebody who stops listening": /\.channel\(/,
  Stripe: /from "stripe"/,
  "a browser": /location\./,
};

describe("TypeScript", () => {
  const missing = (snippet: Snippet) =>
    Object.keys(notHere).find((what) => notHere[what]!.test(snippet.text));

  test("what is not run wants what there is not here", () => {
    const left = inTypeScript.filter((snippet) => missing(snippet) !== undefined);
    console.log(`run=${inTypeScript.length - left.length} only compiled=${left.length}`);
    expect(left.map((snippet) => `${snippet.page}: ${missing(snippet)}`)).toEqual([
      "docs/guides/alerts.md: somebody who stops listening",
      "docs/guides/checkout.md: a browser",
      "docs/guides/payments.md: Stripe",
    ]);
  });

  test.each(inTypeScript.filter((snippet) => missing(snippet) === undefined).map((it) => [where(it), it]))(
    "%s runs, and nothing that it asks for is refused",
    async (_, snippet) => {
      const { stdout } = await runFile(folder.fileOf(snippet).replace(/\.ts$/, ".js"), folder, stack);
      // what a comment says of the numbers is what comes
      if (snippet.text.includes("advance_test_clock")) expect(stdout).toContain("ran out on day 90: 500\n");
      if (snippet.text.includes("610000")) {
        expect(stdout).toContain("610000\n");
        expect(stdout).toMatch(/^true \[/m);
        expect([...stdout.matchAll(/deducted: (\d+)/g)].map(([, tokens]) => Number(tokens))).toEqual([
          100_000, 10_000, 40_000,
        ]);
      }
    },
    20_000,
  );

  test("a snippet that is refused is seen", async () => {
    const bad = { page: "a.md", line: 1, language: "ts", isClosed: true };
    const wrong = makeFolder([
      { ...bad, text: 'await server.rpc("deduct_tokens_with_fifo", { p_user_id: user.id });' },
    ]);
    emit(wrong);
    await expect(runFile(join(wrong.path, "snippets/a-md-1.js"), wrong, stack)).rejects.toThrow(
      /PGRST202|404/,
    );
    wrong.remove();
  });
});

describe("SQL", () => {
  /** What stands for something of the reader's. */
  const theirs: [RegExp, string][] = [
    [/'…'/g, `'${ALICE}'`],
    [/<user id>/g, GRACE],
    [/<first_transaction_id of the finding's evidence>/g, "1"],
  ];
  /** What is answered, where it is not rows: of extensions that are not here, and of what a page makes before. */
  const refused: [of: RegExp, code: string][] = [
    [/cron\.schedule/, "3F000"],
    [/refund_tokens\('<user id>'/, "PT409"],
    [/verify_token_checkpoint/, "PT400"],
    [/there are books here/, "P0001"],
    [/repeat_token_webhook_delivery/, "PT404"],
  ];
  /** What a snippet finds in the reader's project, or has from the one before it. */
  const given: [of: RegExp, sql: string][] = [
    [
      /public\.articles/,
      "create table public.articles (id bigint generated always as identity primary key, user_id uuid)",
    ],
    [/public\.archive/, "create table public.archive (id bigint primary key)"],
    [
      /stop_charging_tokens_on_insert/,
      "select tokenbook.charge_tokens_on_insert('public.articles', 'article_generation', 500)",
    ],
    [
      /retry_token_webhooks/,
      "select public.set_token_webhook_endpoint('app', 'https://app.example.com/hooks/tokens')",
    ],
  ];
  const statements = every.filter(({ language }) => language === "sql");

  test.each(statements.map((snippet) => [where(snippet), snippet]))("%s runs", async (_, snippet) => {
    const text = theirs.reduce((sql, [from, to]) => sql.replaceAll(from, to), snippet.text);
    const client = await stack.db.admin.connect();
    try {
      await client.query("begin");
      for (const [of, sql] of given) if (of.test(snippet.text)) await client.query(sql);
      const said = await client.query(text).then(
        () => "rows",
        ({ code, message }: { code: string; message: string }) => `${code} ${message}`,
      );
      const expected = refused.find(([of]) => of.test(snippet.text))?.[1] ?? "rows";
      expect(said.slice(0, expected.length), said).toBe(expected);
    } finally {
      await client.query("rollback");
      client.release();
    }
  });
});

describe("requests by curl", () => {
  const requests = every
    .filter(({ language }) => language === "bash")
    .filter(({ text }) => text.startsWith("curl "));

  test("there are some", () => expect(requests.length).toBeGreaterThan(3));

  test.each(requests.map((snippet) => [where(snippet), snippet]))(
    "%s is answered with 200",
    async (_, snippet) => {
      const { rows } = await stack.db.admin.query(
        "select id from public.token_payments where user_id = $1 and status = 'pending'",
        [DAVE],
      );
      const text = snippet.text
        .replace('"userId": "…", "paymentId": "…"', `"userId": "${DAVE}", "paymentId": "${rows[0]?.id}"`)
        .replace('"p_user_id": "…"', `"p_user_id": "${ALICE}"`);
      const { status, body } = await runCurl(text, folder, stack, {
        TOKEN: await stack.token(ALICE),
        USER_TOKEN: await stack.token(ALICE),
        ADMIN_TOKEN: await stack.token(ADMIN, adminClaims),
      });
      expect(status, body).toBe(200);
    },
    30_000,
  );
});

test("after all of it the books are right", async () => {
  const { rows } = await stack.db.admin.query(
    "select u.email, v.invariant from public.verify_token_ledger() v left join auth.users u on u.id = v.user_id order by 1",
  );
  // the demo's own (tests/examples/demo.test.ts)
  expect(rows.map(({ email }: { email: string }) => email)).toEqual([
    "cost-mismatch@example.com",
    "failed-operations@example.com",
  ]);
});
