import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { projectRoot } from "../../scripts/local/settings.ts";
import { startStack, type Stack } from "../functions/stack.ts";

let stack: Stack;
beforeAll(async () => {
  stack = await startStack();
});
afterAll(() => stack.close());

const read = (path: string) => readFileSync(join(projectRoot, path), "utf8");

test("examples/streaming prints what is recorded of it, and the guide shows the same", async () => {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--import", "tsx", "examples/streaming/charge-a-stream.ts"],
    {
      cwd: projectRoot,
      env: { ...process.env, SUPABASE_URL: stack.url, SUPABASE_SECRET_KEY: stack.keys.secretKey },
    },
  );
  expect(stdout).toBe(read("examples/streaming/output.txt"));
  expect(read("docs/guides/charging-for-a-streaming-call.md")).toContain(stdout);
  const { rows } = await stack.db.admin.query("select * from public.verify_token_ledger()");
  expect(rows).toEqual([]);
});
