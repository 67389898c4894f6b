/** The site as it is built: its links, its versions, and what a reader sees of it in a browser. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sirv from "sirv";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { projectRoot } from "../../scripts/project.ts";
import { followLinks } from "../../website/check.ts";
import { addressOf, pages } from "../../website/pages.ts";
import { chromium, startBrowser } from "../react/browser.ts";

const site = mkdtempSync(join(tmpdir(), "tokenbook-site-"));
let said = "";

beforeAll(() => {
  // releases from before
  for (const version of ["0.9.0", "0.10.0"]) {
    mkdirSync(join(site, version));
    writeFileSync(join(site, version, "index.html"), `the pages of ${version}`);
  }
  const build = spawnSync(
    process.execPath,
    ["--import", "tsx", join("website", "build.ts"), "--into", site, "--base", "/docs/"],
    { cwd: projectRoot, encoding: "utf8", env: { ...process.env, NODE_ENV: "production" } },
  );
  said = build.stdout + build.stderr;
  expect(said).toMatch(/^pages=\d+ links=\d+ dead=0 /m);
  expect(build.status).toBe(0);
  console.log(/^pages=.*$/m.exec(said)![0]);
});

afterAll(() => rmSync(site, { recursive: true, force: true }));

const built = (file: string) => readFileSync(join(site, "next", file), "utf8");

test("every page of the list is built, with its anchors", () => {
  for (const page of pages) expect(built(addressOf(page))).toContain("<h1");
  for (const name of ["deduct_tokens_with_fifo", "get_user_token_balance", "token_accounts"])
    expect(built("reference.html")).toContain(`id="${name}"`);
});

test("a dead link, a dead anchor and a missing picture are seen in what was built", () => {
  const copy = mkdtempSync(join(tmpdir(), "tokenbook-site-"));
  cpSync(join(site, "next"), copy, { recursive: true });
  const change = (file: string, from: string, to: string) => {
    const text = readFileSync(join(copy, file), "utf8");
    expect(text).toContain(from);
    writeFileSync(join(copy, file), text.replace(from, to));
  };
  expect(followLinks(copy, "/docs/next/").dead).toEqual([]);

  change("errors.html", 'id="busy"', 'id="hurried"');
  rmSync(join(copy, "guides", "caps-and-teams.html"));
  change("overview.html", 'src="/docs/next/assets/', 'src="/docs/next/assets/no-');
  const { dead } = followLinks(copy, "/docs/next/");
  rmSync(copy, { recursive: true });

  console.log(`dead links seen=${dead.length}`);
  expect(dead).toEqual(
    expect.arrayContaining([
      expect.stringMatching(/: .*#busy$/),
      expect.stringMatching(/^overview\.html: .*\/guides\/caps-and-teams\.html$/),
      expect.stringMatching(/^overview\.html: .*\/assets\/no-/),
    ]),
  );
});

test("the other versions stay as they are, the menu has them all, and the newest release is what opens first", () => {
  expect(readFileSync(join(site, "0.9.0", "index.html"), "utf8")).toBe("the pages of 0.9.0");
  expect(JSON.parse(readFileSync(join(site, "versions.json"), "utf8"))).toEqual(["next", "0.10.0", "0.9.0"]);
  expect(readFileSync(join(site, "index.html"), "utf8")).toContain('url=0.10.0/"');
});

test("llms.txt names files that are there", () => {
  const links = [...built("llms.txt").matchAll(/^- \[.*?\]\(\/docs\/next\/(.*?)\)/gm)].map(
    ([, file]) => file!,
  );

  expect(links).toHaveLength(pages.length);
  for (const file of links) expect(built(file)).toMatch(/^# /m);
  expect(built("llms-full.txt").length).toBeGreaterThan(500_000);
});

test("nothing is fetched from elsewhere", () => {
  for (const page of pages)
    expect(
      built(addressOf(page)).match(
        /<(?:script|img|link)\b[^>]*\s(?:src|href)="(?:https?:)?\/\/[^"]*"|@import/g,
      ),
    ).toBeNull();
});

const inBrowser = chromium === undefined ? test.skip : test;

inBrowser(
  "a reader finds a function by a few letters, in the light and the dark, and on a narrow screen nothing sticks out",
  { tags: ["browser"] },
  async () => {
    const axe = readFileSync(join(projectRoot, "node_modules", "axe-core", "axe.min.js"), "utf8");
    const server = await serve();
    const browser = await startBrowser();
    const seen: string[] = [];
    let opened = 0;
    try {
      for (const [colorScheme, width, judged] of [
        ["light", 1280, ["", "guides/payments.html", "reference.html"]],
        ["dark", 1280, ["", "guides/payments.html"]],
        ["light", 360, [""]],
      ] as const) {
        const page = await open(browser, colorScheme, width, seen);
        for (const address of ["reference.html", "guides/payments.html", ""]) {
          const name = `${address || "home"} ${colorScheme} ${width}`;
          await page.goto(`${addressAt(server)}next/${address}`);
          await measure(page, name, seen);
          if (judged.some((one) => one === address)) await judge(page, axe, name, seen);
          opened += 1;
        }
        await page.goto(`${addressAt(server)}next/guides/scale.html`);
        await calculate(page);
        await measure(page, `calculator ${colorScheme} ${width}`, seen);
        await judge(page, axe, `calculator ${colorScheme} ${width}`, seen);
        await page.goto(`${addressAt(server)}next/`);
        await page.waitForLoadState("networkidle");
        await page.click(".DocSearch-Button");
        await page.fill("#localsearch-input", "fifo");
        await page.locator(".result").first().waitFor();
        await judge(page, axe, `search ${colorScheme} ${width}`, seen);
        expect(await page.locator(".result").first().getAttribute("href")).toContain(
          "reference.html#deduct_tokens_with_fifo",
        );
        expect(await page.locator(".versions option").allTextContents()).toEqual(["next", "0.10.0", "0.9.0"]);
        await page.keyboard.press("Escape");
        await page.selectOption(".versions select", "0.10.0");
        await page.waitForURL(`${addressAt(server)}0.10.0/index.html`);
        await page.context().close();
      }
    } finally {
      await browser.close();
      server.close();
    }
    console.log(`pages=${opened} faults=${seen.length}`);
    expect(seen).toEqual([]);
  },
);

async function open(
  browser: Browser,
  colorScheme: "light" | "dark",
  width: number,
  seen: string[],
): Promise<Page> {
  const context = await browser.newContext({ colorScheme, viewport: { width, height: 800 } });
  const page = await context.newPage();
  page.on("pageerror", (error) => seen.push(`${page.url()}: ${error.message}`));
  page.on("response", (response) => {
    if (response.status() >= 400) seen.push(`${response.status()} ${response.url()}`);
  });
  return page;
}

/** What is typed stays, and is answered or said to be wrong; it leaves a message to be judged. */
async function calculate(page: Page): Promise<void> {
  const disk = page.locator(".calculator dl > div", { hasText: "Disk a day" }).locator("dd");
  const calls = page.getByLabel("Spendings a day");
  await calls.fill("2000000");
  const keyed = await disk.textContent();
  await page.getByLabel("With idempotency keys").uncheck();
  await expect.poll(() => disk.textContent()).not.toBe(keyed);
  await calls.fill("-3");
  await page.getByText("At least 1.").waitFor();
  expect(await calls.inputValue()).toBe("-3");
  expect(await disk.textContent()).toBe("–");
}

/** What axe finds wrong in the first sixty paragraphs of a page: the reference has thousands, all of these kinds. */
async function judge(page: Page, axe: string, name: string, seen: string[]): Promise<void> {
  await page.evaluate(axe);
  const violations = await page.evaluate(async () => {
    for (const rest of document.querySelectorAll(".vp-doc > div > :nth-child(n + 60)")) rest.remove();
    const { axe: judging } = window as unknown as {
      axe: { run(): Promise<{ violations: { id: string }[] }> };
    };
    return (await judging.run()).violations.map(({ id }) => id);
  });
  seen.push(...violations.map((id) => `${name}: ${id}`));
}

async function measure(page: Page, name: string, seen: string[]): Promise<void> {
  const excess = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  if (excess > 0) seen.push(`${name}: ${excess} pixels too wide`);
}

async function serve(): Promise<Server> {
  const files = sirv(site, { dev: true });
  const server = createServer((request, response) => {
    request.url = request.url!.replace(/^\/docs\//, "/");
    files(request, response, () => {
      response.writeHead(404).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

const addressAt = (server: Server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}/docs/`;
