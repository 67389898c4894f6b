// @module-tag proof
/**
 * The package as an app has it: packed, installed into an empty folder, checked by the compiler, and run by Node, Deno,
 * Bun and a browser. npm gets Bun from the registry, once.
 */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { copyFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { afterAll, beforeAll, expect, test } from "vitest";
import { projectRoot } from "../../scripts/project.ts";
import { startStack, type Stack } from "../functions/stack.ts";
import { asHere, install, installed, packOnly } from "../install/packed.ts";
import { chromium, startBrowser } from "../react/browser.ts";
import { grant } from "../support/books.ts";
import { createUser } from "../support/roles.ts";
import { supabaseOf } from "./books.ts";

const run = promisify(execFile);

/** No dependency of this repository: what is installed for one test. */
const bunVersion = "1.4.5";

const apps = join(projectRoot, "tests/package/apps");
let stack: Stack;
let packed: Awaited<ReturnType<typeof packOnly>>;
let folder: string;
let kilobytes: number;
beforeAll(async () => {
  stack = await startStack();
  packed = await packOnly();
  folder = await installed(packed.archive);
  const { stdout } = await run("du", ["-sk", join(folder, "node_modules")]);
  kilobytes = Number(stdout.split("\t")[0]);
  const sdks = asHere(
    "ai",
    "@ai-sdk/openai-compatible",
    "openai",
    "@anthropic-ai/sdk",
    "@supabase/supabase-js",
  );
  await install(folder, ...sdks, ...asHere("typescript", "@types/node"), `bun@${bunVersion}`);
  for (const file of ["app.ts", "models.ts"]) await copyFile(join(apps, file), join(folder, file));
}, 300_000);
afterAll(async () => {
  await rm(folder, { recursive: true });
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

/** What the compiler says. */
async function faultsOf(...args: string[]): Promise<string[]> {
  const tsc = join(folder, "node_modules/.bin/tsc");
  const { stdout } = await run(tsc, ["--strict", ...args], { cwd: folder }).catch(
    (error: { stdout: string }) => error,
  );
  return stdout.split("\n").filter((line) => /^\S/.test(line));
}

const done = { spent: 50, total_active: 950, entries: [-50, 1_000], refused: "invalid_amount" };

test.each([
  { resolution: "node16", module: "node16" },
  { resolution: "bundler", module: "esnext" },
])(
  "the compiler at its strictest knows it, resolving as $resolution, and Node runs it",
  async ({ resolution, module }) => {
    const out = `out-${resolution}`;
    const how = ["--target", "es2022", "--module", module, "--moduleResolution", resolution, "--outDir", out];
    const strictest = [
      "--noUncheckedIndexedAccess",
      "--exactOptionalPropertyTypes",
      "--verbatimModuleSyntax",
    ];
    expect(await faultsOf("app.ts", ...how, ...strictest)).toEqual([]);
    // the types of the AI SDK do not bear to be looked at as closely
    expect(await faultsOf("models.ts", ...how, "--skipLibCheck")).toEqual([]);
    expect(await appBy(process.execPath, `${out}/app.js`)).toEqual(done);
  },
);

test("Deno checks it and runs it", async () => {
  const deno = join(projectRoot, "node_modules/.bin/deno");
  const args = ["run", "-A", "--check", "--node-modules-dir=manual", "app.ts"];
  expect(await appBy(deno, ...args)).toEqual(done);
});

test("Bun runs it", async () => {
  const bun = join(folder, "node_modules/.bin/bun");
  const { stdout } = await run(bun, ["--version"], { cwd: folder });
  expect(stdout.trim()).toBe(bunVersion);
  expect(await appBy(bun, "run", "app.ts")).toEqual(done);
});

test.skipIf(chromium === undefined)(
  "a browser runs it, for the user who signs in",
  { tags: ["browser"] },
  async () => {
    const { outputFiles } = await build({
      entryPoints: [join(apps, "page.ts")],
      absWorkingDir: folder,
      nodePaths: [join(folder, "node_modules")],
      bundle: true,
      format: "esm",
      platform: "browser",
      define: { SUPABASE_URL: JSON.stringify(stack.url), KEY: JSON.stringify(stack.keys.publishableKey) },
      write: false,
    });
    const site = createServer(({ url }, answer) => {
      if (url === "/page.js")
        answer.setHeader("content-type", "text/javascript").end(outputFiles[0]!.contents);
      else
        answer
          .setHeader("content-type", "text/html")
          .end(`<p></p><button>Spend</button><script type="module" src="/page.js"></script>`);
    });
    await new Promise<void>((listening) => site.listen(0, "127.0.0.1", listening));
    const browser = await startBrowser();
    try {
      const who = { email: "ann@example.com", password: "a password of a test" };
      const { data } = await supabaseOf(stack).auth.admin.createUser({ ...who, email_confirm: true });
      await grant(stack.db, data.user!.id, 1_000);
      const page = await browser.newPage();
      const complaints: string[] = [];
      page.on("pageerror", (error) => complaints.push(String(error)));
      const query = new URLSearchParams(who);
      await page.goto(`http://127.0.0.1:${(site.address() as AddressInfo).port}/?${query}`);
      const shows = (text: string) => page.getByText(text, { exact: true }).waitFor({ timeout: 20_000 });
      await shows("1000 tokens");
      await page.getByRole("button").click();
      await shows("950 tokens: -50, 1000; invalid_amount");
      expect(complaints).toEqual([]);
    } finally {
      await browser.close();
      site.closeAllConnections();
      site.close();
    }
  },
);

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
  console.log(
    `client=${JSON.stringify(client)} webhook=${JSON.stringify(webhook)} node_modules=${kilobytes} KiB`,
  );
  expect(client.compressed).toBeLessThan(14 * 1024);
  expect(webhook.compressed).toBeLessThan(1024);
  const { dependencies } = JSON.parse(
    readFileSync(join(folder, "node_modules/tokenbook/package.json"), "utf8"),
  ) as { dependencies: object };
  const index = readFileSync(join(folder, "node_modules/tokenbook/dist/index.js"), "utf8");
  for (const name of Object.keys(dependencies)) expect(index).not.toContain(`"${name}"`);
});
