/** The console as people meet it: built, served, in a real browser, against the whole stack. Shared by all tests of it. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build, type Plugin } from "vite";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { expect } from "vitest";
import { type ServedConsole, serveConsole } from "../../packages/tokenbook/src/console/serve.ts";
import { projectRoot } from "../../scripts/project.ts";
import { startStack, type Stack } from "../functions/stack.ts";
import { startBrowser } from "../react/browser.ts";
import type { Database } from "../support/database.ts";
import { giveFreePlanAtRegistration } from "../support/plans.ts";
import { asService, rpc } from "../support/roles.ts";

export const password = "a password of a test";

/** One thing done wrong, to show that a test can fail. */
export interface Fault {
  /** In console/src. */
  file: string;
  /** Is there exactly once. */
  right: string;
  wrong: string;
}

/** A dialog that asks anew with each click, under another key. */
export const aKeyForEach: Fault[] = [
  {
    file: "parts/ActDialog.tsx",
    right: "await act(key, isLost)",
    wrong: "await act(crypto.randomUUID(), isLost)",
  },
  { file: "parts/ActDialog.tsx", right: "if (!isReady || isGoing.current) return;", wrong: "" },
];

export interface Person {
  id: string;
  email: string;
}

export interface Trial {
  stack: Stack;
  browser: Browser;
  /** Where it is served. */
  url: string;
  /** The address of the API, at the end of a line that can be cut. */
  api: string;
  /** Where it is built. */
  folder: string;
  /** A new user; signed up as by a server. */
  person(email?: string): Promise<Person>;
  /** Opens the console as somebody who is signed in. */
  open(person: Person, options?: Opening): Promise<Page>;
  /** A browser of its own, in which nobody is signed in. */
  visit(options?: Opening): Promise<Page>;
  /** Ends every connection to the API and takes no more, as a server that is down; and takes them again. */
  down(): Promise<void>;
  up(): Promise<void>;
  /** What the server does for a user. */
  serve(name: string, args: object): Promise<unknown>;
  close(): Promise<void>;
}

export interface Opening {
  scheme?: "light" | "dark";
  width?: number;
  locale?: string;
  path?: string;
  /** Another build, at another address. */
  at?: string | undefined;
}

/** Builds it, with faults if that is asked for. */
export async function buildConsole(fault?: Fault | Fault[]): Promise<string> {
  const outDir = mkdtempSync(join(tmpdir(), "tokenbook-console-"));
  const { NODE_ENV } = process.env;
  await build({
    root: join(projectRoot, "console"),
    logLevel: "error",
    plugins: [fault ?? []].flat().map(committing),
    build: { outDir, emptyOutDir: true },
  });
  process.env["NODE_ENV"] = NODE_ENV;
  return outDir;
}

function committing({ file, right, wrong }: Fault): Plugin {
  const path = join(projectRoot, "console/src", file);
  if (readFileSync(path, "utf8").split(right).length !== 2) {
    throw new Error(`${file} does not have it once: ${right}`);
  }
  return {
    name: "a known-bad variant",
    enforce: "pre",
    transform: (code, id) => (id === path ? code.replace(right, () => wrong) : null),
  };
}

/** @param db the database, where that is none of its own */
export async function startTrial(settings: Record<string, string> = {}, db?: Database): Promise<Trial> {
  const [stack, folder, browser] = await Promise.all([
    startStack(settings, [], db),
    buildConsole(),
    startBrowser(),
  ]);
  await giveFreePlanAtRegistration(stack.db);
  const line = await startLine(Number(new URL(stack.url).port));
  const config = { url: line.url, key: stack.keys.publishableKey };
  const served: ServedConsole = await serveConsole(config, 0, folder);
  const contexts: BrowserContext[] = [];

  const trial: Trial = {
    stack,
    browser,
    url: served.url,
    api: line.url,
    folder,

    async person(email = `${crypto.randomUUID()}@example.com`) {
      const answer = await fetch(`${stack.url}/auth/v1/admin/users`, {
        method: "POST",
        headers: { apikey: stack.keys.secretKey, "content-type": "application/json" },
        body: JSON.stringify({ email, password, email_confirm: true }),
      });
      return { id: ((await answer.json()) as { id: string }).id, email };
    },

    async visit({ scheme = "light", width = 1280, locale = "en-US", path = "/", at = served.url } = {}) {
      const context = await browser.newContext({
        viewport: { width, height: 900 },
        colorScheme: scheme,
        locale,
        timezoneId: "UTC",
        reducedMotion: "reduce",
      });
      contexts.push(context);
      const page = await context.newPage();
      await page.goto(`${at}${path}`);
      return page;
    },

    async open(person, opening) {
      const page = await trial.visit(opening);
      await signIn(page, person.email);
      await page.getByTestId("balance").waitFor();
      return page;
    },

    serve: (name, args) => asService(stack.db, (client) => rpc(client, name, args as never)),

    down: () => line.cut(),
    up: () => line.mend(),

    async close() {
      for (const context of contexts) await context.close();
      await browser.close();
      await served.close();
      await line.cut();
      await stack.close();
      rmSync(folder, { recursive: true });
    },
  };
  return trial;
}

/** The line to a port, which can be cut: what a browser calls offline leaves its sockets open. */
export async function startLine(to: number) {
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(to, "127.0.0.1");
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one);
      one.on("error", () => other.destroy()).on("close", () => sockets.delete(one) && other.destroy());
      one.pipe(other);
    }
  });
  const listen = (port: number) => new Promise<void>((done) => server.listen(port, "127.0.0.1", done));
  await listen(0);
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    mend: () => listen(port),
    cut: () =>
      new Promise<void>((done) => {
        server.close(() => done());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

/**
 * Serves a known-bad variant, and takes it away again.
 *
 * @param reads the address of a replica's API
 */
export async function withFault(
  trial: Trial,
  fault: Fault | Fault[],
  work: (url: string) => Promise<void>,
  reads?: string,
): Promise<void> {
  const folder = await buildConsole(fault);
  const config = { url: trial.api, key: trial.stack.keys.publishableKey, reads };
  const served = await serveConsole(config, 0, folder);
  try {
    await work(served.url);
  } finally {
    await served.close();
    rmSync(folder, { recursive: true });
  }
}

export async function signIn(page: Page, email: string, word = password): Promise<void> {
  await page.getByLabel("E-mail").fill(email);
  await page.getByLabel("Password", { exact: true }).fill(word);
  await page.getByRole("button", { name: "Sign in" }).first().click();
}

/** Waits until the balance says it. */
export const saysBalance = (page: Page, text: string, timeout = 15_000) =>
  expect.poll(() => page.getByTestId("balance").textContent(), { timeout }).toBe(text);

/** What the lines of the ledger say: what, tokens, balance. */
export async function ledgerOf(page: Page): Promise<string[][]> {
  await page.getByTestId("ledger").waitFor();
  return await page
    .getByTestId("ledger")
    .locator("tr[data-kind]")
    .evaluateAll((rows) =>
      rows.map((row) => {
        const [what, , tokens, balance] = Array.from(row.children, (cell) => cell as HTMLElement);
        return [what!.querySelector(".words")!.textContent, tokens!.textContent, balance!.textContent];
      }),
    );
}

/** How much wider than the window the page is. */
export const excess = (page: Page) =>
  page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

/** What stands over the inner edge of its part of the page, and how far: in pixels, more than one. */
export const overEdges = (page: Page) =>
  page.locator("section").evaluateAll((sections) =>
    sections.flatMap((section) => {
      const style = getComputedStyle(section);
      const box = section.getBoundingClientRect();
      const [left, right] = [
        box.left + Number.parseFloat(style.paddingLeft),
        box.right - Number.parseFloat(style.paddingRight),
      ];
      return Array.from(section.querySelectorAll("button, a, label, td, th, p"), (it) => {
        const { left: from, right: to } = it.getBoundingClientRect();
        const over = Math.max(left - from, to - right);
        // what is not shown has no width
        return to > from && over > 1 ? [`${it.textContent}: ${Math.round(over)} px`] : [];
      }).flat();
    }),
  );

/** From now on everything that the page asks of the API takes 0.4 to 1.2 seconds. */
export async function slowDown(page: Page): Promise<void> {
  await page.route(/\/(rest|functions)\/v1\//, async (route) => {
    await new Promise((done) => setTimeout(done, 400 + Math.random() * 800));
    await route.continue();
  });
}

/** How far things moved while the page came, as browsers count it: 0 is not at all, and good is under 0.1. */
export async function jumps(page: Page): Promise<number> {
  return await page.evaluate(
    () =>
      new Promise<number>((done) => {
        let sum = 0;
        new PerformanceObserver((list) => {
          for (const entry of list.getEntries() as (PerformanceEntry & { value: number })[])
            sum += entry.value;
        }).observe({ type: "layout-shift", buffered: true });
        setTimeout(() => done(sum), 300);
      }),
  );
}

/** Writes a picture where LOOK says, for people who want to see what a test sees. */
export async function look(page: Page, name: string): Promise<void> {
  const folder = process.env["LOOK"];
  if (folder !== undefined) await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
}

const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What axe finds wrong on a page: rule, and the elements. */
export async function violations(page: Page): Promise<string[]> {
  // past the page's policy, as the browser's own tools are
  await page.evaluate(axeSource);
  return await page.evaluate(async () => {
    // oxlint-disable-next-line typescript/no-explicit-any -- a name of the page
    const { violations: found } = await (globalThis as any).axe.run(document, {
      runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    });
    // oxlint-disable-next-line typescript/no-explicit-any -- axe's own
    return found.flatMap((it: any) => it.nodes.map((node: any) => `${it.id}: ${node.html.slice(0, 160)}`));
  });
}
