// @module-tag proof
/**
 * The packed package in a new project of Next.js, app router: the server shows a balance, a server action spends. Built,
 * started, and used in a real browser. npm gets Next.js from the registry, once.
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { projectRoot } from "../../scripts/project.ts";
import { startStack, type Stack } from "../functions/stack.ts";
import { asHere, install, installed, packOnly } from "../install/packed.ts";
import { chromium, startBrowser } from "../react/browser.ts";
import { expectCleanBooks, grant } from "../support/books.ts";
import { supabaseOf } from "./books.ts";

const run = promisify(execFile);
const versions = [
  "next@16.4.6",
  "react@19.3.1",
  "react-dom@19.3.1",
  "@types/react@19.3.3",
  "@supabase/ssr@0.12.7",
  "@supabase/supabase-js@2.119.1",
];

describe.skipIf(chromium === undefined)("a new project of Next.js", { tags: ["browser"] }, () => {
  let stack: Stack;
  let packed: Awaited<ReturnType<typeof packOnly>>;
  let folder: string;
  let browser: Browser;
  let stop: () => Promise<void>;
  let url: string;
  let built: string;

  beforeAll(async () => {
    stack = await startStack();
    packed = await packOnly();
    folder = await installed(packed.archive);
    await install(folder, ...versions, ...asHere("typescript", "@types/node"));
    await cp(join(projectRoot, "tests/package/apps/next"), folder, { recursive: true });
    const next = join(folder, "node_modules/next/dist/bin/next");
    const options = {
      cwd: folder,
      env: {
        PATH: process.env["PATH"],
        HOME: folder,
        NODE_ENV: "production" as const,
        NEXT_TELEMETRY_DISABLED: "1",
        SUPABASE_URL: stack.url,
        SUPABASE_PUBLISHABLE_KEY: stack.keys.publishableKey,
      },
    };
    const begin = performance.now();
    ({ stdout: built } = await run(process.execPath, [next, "build"], options));
    const seconds = ((performance.now() - begin) / 1000).toFixed(1);
    const server = spawn(process.execPath, [next, "start", "-p", "0", "-H", "127.0.0.1"], {
      ...options,
      stdio: ["ignore", "pipe", "inherit"],
    });
    const gone = once(server, "close");
    stop = async () => {
      server.kill();
      await gone;
    };
    for await (const line of createInterface(server.stdout)) {
      url = /http:\/\/127\.0\.0\.1:\d+/.exec(line)?.[0] ?? url;
      if (line.includes("Ready")) break;
    }
    browser = await startBrowser();
    console.log(`next build: ${seconds} s`);
  }, 600_000);
  afterAll(async () => {
    await browser.close();
    await stop();
    await expectCleanBooks(stack.db);
    await stack.close();
    await packed.remove();
    await rm(folder, { recursive: true });
  });

  test("is built, types and all", () => {
    expect(built).toMatch(/ƒ \/\n/); // the page is made for each request
  });

  test("shows a balance on the server, and spends in a server action", async () => {
    const who = { email: "ann@example.com", password: "a password of a test" };
    const { data } = await supabaseOf(stack).auth.admin.createUser({ ...who, email_confirm: true });
    await grant(stack.db, data.user!.id, 1_000);
    const page = await browser.newPage();
    const complaints: string[] = [];
    page.on("pageerror", (error) => complaints.push(String(error)));
    await page.goto(url);
    await page.fill("[name=email]", who.email);
    await page.fill("[name=password]", who.password);
    await page.getByRole("button").click();
    const shows = (text: string) => page.getByText(text, { exact: true }).waitFor({ timeout: 30_000 });
    await shows("1000 tokens");
    await page.getByRole("button", { name: "Spend" }).click();
    await shows("950 tokens");
    await page.getByRole("button", { name: "Spend" }).click();
    await shows("900 tokens");
    expect(complaints).toEqual([]);
    // what a server sends to a browser without JavaScript
    const cookie = (await page.context().cookies()).map(({ name, value }) => `${name}=${value}`).join("; ");
    expect(await (await fetch(url, { headers: { cookie } })).text()).toMatch(/900(<!-- -->)? tokens/);
  });
});
