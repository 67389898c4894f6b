// @module-tag proof
/** The package as an app has it: packed, installed into an empty folder, and run by Node, by Deno, and through a bundler. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { afterAll, beforeAll, expect, test } from "vitest";
import { projectRoot } from "../../scripts/project.ts";
import { startStack, type Stack } from "../functions/stack.ts";
import { pack, type Packed } from "../install/packed.ts";
import { grant } from "../support/books.ts";
import { createUser } from "../support/roles.ts";

const run = promisify(execFile);

/** What an app does: it spends, and shows. Without types, because there is no build. */
const app = `
  import { createClient } from "@supabase/supabase-js";
  import { tokenbook, TokenbookError } from "tokenbook";

  globalThis.WebSocket ??= class {}; // Node 20 has none, and supabase-js wants one to be there
  const env = (name) => globalThis.Deno?.env.get(name) ?? process.env[name];
  const supabase = createClient(env("URL"), env("KEY"), { auth: { persistSession: false } });
  const books = tokenbook(supabase, { userId: env("USER_ID") });
  const spent = await books.deduct(50, { actionType: "chat_conversation" });
  const { total_active } = await books.balance();
  const refused = await books.deduct(-1).catch((error) => error);
  const entries = [];
  for await (const entry of books.history()) entries.push(entry.tokens);
  console.log(JSON.stringify({
    spent: spent.tokens_deducted, total_active, entries,
    refused: [refused instanceof TokenbookError, refused.code],
  }));`;

let stack: Stack;
let packed: Packed;
let folder: string;
beforeAll(async () => {
  stack = await startStack();
  packed = await pack();
  folder = packed.now;
  await writeFile(join(folder, "app.mjs"), app);
  await symlink(
    join(projectRoot, "node_modules/@supabase"),
    join(folder, "node_modules/@supabase"),
    "junction",
  );
}, 300_000);
afterAll(async () => {
  await packed.remove();
  await stack.close();
});

/** Runs the app for a new user of 1,000 tokens. */
async function appBy(program: string, ...args: string[]) {
  const userId = await createUser(stack.db);
  await grant(stack.db, userId, 1_000);
  const { stdout } = await run(program, args, {
    cwd: folder,
    env: { ...process.env, URL: stack.url, KEY: stack.keys.secretKey, USER_ID: userId },
  });
  return JSON.parse(stdout) as unknown;
}

const done = { spent: 50, total_active: 950, entries: [-50, 1_000], refused: [true, "invalid_amount"] };

test("Node runs it", async () => {
  expect(await appBy(process.execPath, "app.mjs")).toEqual(done);
});

test("Deno runs it", async () => {
  const deno = join(projectRoot, "node_modules/.bin/deno");
  expect(await appBy(deno, "run", "-A", "--node-modules-dir=manual", "app.mjs")).toEqual(done);
});

test("a bundle for browsers has nothing of the command line, and is small", async () => {
  const sizeOf = async (what: string) => {
    const { outputFiles, metafile } = await build({
      stdin: { contents: `export { ${what} } from "tokenbook";`, resolveDir: folder },
      bundle: true,
      minify: true,
      format: "esm",
      platform: "browser",
      target: "es2022",
      write: false,
      metafile: true,
    });
    const inputs = Object.keys(metafile.inputs).filter((it) => it.includes("node_modules"));
    for (const input of inputs) expect(input).toMatch(/tokenbook\/dist\/[\w-]+\.js$/);
    const code = outputFiles[0]!.contents;
    return { minified: code.length, compressed: gzipSync(code, { level: 9 }).length };
  };
  const [client, webhook] = [await sizeOf("tokenbook"), await sizeOf("verifyTokenWebhook")];
  const { stdout } = await run("du", ["-sk", "--exclude=@supabase", join(folder, "node_modules")]);
  console.log(
    `client=${JSON.stringify(client)} webhook=${JSON.stringify(webhook)} node_modules=${stdout.split("\t")[0]} KiB`,
  );
  expect(client.compressed).toBeLessThan(12 * 1024);
  expect(webhook.compressed).toBeLessThan(1024);
  const { dependencies } = JSON.parse(
    readFileSync(join(folder, "node_modules/tokenbook/package.json"), "utf8"),
  ) as { dependencies: object };
  const index = readFileSync(join(folder, "node_modules/tokenbook/dist/index.js"), "utf8");
  for (const name of Object.keys(dependencies)) expect(index).not.toContain(`"${name}"`);
});
