import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { projectRoot } from "../../scripts/project.ts";
import { startStack } from "../functions/stack.ts";

const read = (path: string) => readFileSync(join(projectRoot, path), "utf8");

test("examples/ai prints what is recorded of it, and the guide shows the same", async () => {
  const stack = await startStack();
  try {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ["--import", "tsx", "examples/ai/charge-calls.ts"],
      {
        cwd: projectRoot,
        env: { ...process.env, SUPABASE_URL: stack.url, SUPABASE_SECRET_KEY: stack.keys.secretKey },
      },
    );
    await expect(stdout).toMatchFileSnapshot("../../examples/ai/output.txt");
    expect(read("docs/guides/charging-for-model-calls.md")).toContain(stdout);
    expect((await stack.db.admin.query("select * from public.verify_token_ledger()")).rows).toEqual([]);
  } finally {
    await stack.close();
  }
});
