import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startStack, type Stack } from "../functions/stack.ts";
import { grant } from "../support/books.ts";
import { projectRoot } from "../../scripts/project.ts";

let model: ChildProcess;
let stack: Stack;

const start = (file: string) => ["--import", "tsx", `examples/streaming/${file}`];
const read = (path: string) => readFileSync(join(projectRoot, path), "utf8");
const guide = read("docs/guides/charging-for-a-streaming-call.md");

beforeAll(async () => {
  model = spawn(process.execPath, start("model-server.ts"), {
    cwd: projectRoot,
    env: { ...process.env, PORT: "0" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(model.stdout!, "data")) as [Buffer];
  const [name, value] = line.toString().trim().split("=") as [string, string];
  stack = await startStack({ [name]: value });
});
afterAll(async () => {
  model.kill();
  await stack.close();
});

test("examples/streaming prints what is recorded of it, and the guide shows the same", async () => {
  const { stdout } = await promisify(execFile)(process.execPath, start("charge-a-stream.ts"), {
    cwd: projectRoot,
    env: { ...process.env, SUPABASE_URL: stack.url, SUPABASE_SECRET_KEY: stack.keys.secretKey },
  });
  expect(stdout).toBe(read("examples/streaming/output.txt"));
  expect(guide).toContain(stdout);
  const { rows } = await stack.db.admin.query("select * from public.verify_token_ledger()");
  expect(rows).toEqual([]);
});

test("ai-chat answers the guide's question as the guide shows it", async () => {
  const [, body, shown] = /-d '(\{"model": "tides".*)'\n([^]*?)```/.exec(guide)!;
  const alice = await stack.user();
  await grant(stack.db, alice.id, 610_000);
  const { status, text } = await stack.ask("ai-chat", { caller: alice, body });
  const withoutIds = (it: string) => it.replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "<id>");
  expect([status, withoutIds(text)]).toEqual([200, withoutIds(shown!)]);
});
