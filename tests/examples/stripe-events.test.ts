import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { projectRoot } from "../../scripts/project.ts";
import { startStack, type Stack } from "../functions/stack.ts";
import { expectCleanBooks } from "../support/books.ts";

const folder = "examples/stripe-events";
const read = (path: string) => readFileSync(join(projectRoot, path), "utf8");

/** What the example tells to put into supabase/functions/.env. */
const settings = Object.fromEntries(
  [...read(`${folder}/post-an-invoice.ts`).matchAll(/^ \* {3}(STRIPE_\w+)=(\S+)$/gm)].map(
    ([, name, value]) => [name!, value!],
  ),
);

let stack: Stack;
beforeAll(async () => {
  stack = await startStack(settings);
});
afterAll(() => stack.close());

test("examples/stripe-events prints what is recorded of it, and the guide shows the same", async () => {
  expect(Object.keys(settings)).toEqual(["STRIPE_WEBHOOK_SECRET", "STRIPE_MODE"]);
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--import", "tsx", `${folder}/post-an-invoice.ts`],
    {
      cwd: projectRoot,
      env: {
        ...process.env,
        ...settings,
        SUPABASE_URL: stack.url,
        SUPABASE_SECRET_KEY: stack.keys.secretKey,
      },
    },
  );
  expect(stdout).toBe(read(`${folder}/output.txt`));
  expect(read("docs/guides/payments.md")).toContain(stdout);
  await expectCleanBooks(stack.db);
});
