// @module-tag proof
/**
 * An admin's pages in light and dark, wide and narrow, with users of many kinds: they open, and nothing is wider than the
 * window. `npm run console:screenshots` writes the pictures to docs/console; look at them before you commit them.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { projectRoot } from "../../scripts/project.ts";
import { chromium } from "../react/browser.ts";
import { adminOf, manyUsers, type Story } from "./admin-story.ts";
import { type Person, signIn, startTrial, type Trial } from "./page.ts";

/** For looking at them: all of them, and no matter how high. */
const isAll = process.env["SCREENSHOTS_OF_ALL"] === "1";
/** Where to; empty: nowhere. */
const folder = process.env["SCREENSHOTS"] ?? "";
const views = (["light", "dark"] as const).flatMap((scheme) =>
  [1280, 768, 360].map((width) => ({ scheme, width, name: `${scheme}-${width}` })),
);

let trial: Trial;
let admin: Person;
let story: Story;

interface Place {
  name: string;
  path: () => string;
  isThere: (page: Page) => Promise<unknown>;
  height: number;
  /** What the guide shows. */
  kept: string[];
}

const places: Place[] = [
  {
    name: "users",
    path: () => "",
    isThere: (page) => page.getByTestId("users").waitFor(),
    height: 900,
    kept: ["light-1280", "light-360"],
  },
  {
    name: "user",
    path: () => `users/${story.mira.id}`,
    isThere: async (page) => {
      await page.getByTestId("ledger").waitFor();
      await page.getByText("Tokens by day").waitFor({ state: "attached" });
      // their payments come from an edge function, which has to start
      await page.getByRole("row", { name: "Half a million × 2" }).waitFor();
    },
    height: 1_280,
    kept: ["light-1280", "dark-1280"],
  },
  {
    name: "payments",
    path: () => "payments",
    isThere: (page) => page.getByTestId("waiting").waitFor(),
    height: 900,
    kept: [],
  },
  {
    name: "books",
    path: () => "books",
    isThere: async (page) => {
      await page.getByTestId("discrepancies").waitFor();
      await page.getByText("No rule of the books is broken").waitFor();
    },
    height: 700,
    kept: [],
  },
  {
    name: "books-one",
    path: () => `books/${story.broken.id}`,
    isThere: (page) => page.getByTestId("replay").waitFor(),
    height: 900,
    kept: ["light-1280"],
  },
  {
    name: "money",
    path: () => "money",
    isThere: (page) => page.getByTestId("revenue").waitFor(),
    height: 1_000,
    kept: ["light-1280"],
  },
  {
    name: "catalogue",
    path: () => "catalogue",
    isThere: async (page) => {
      for (const list of ["plans", "packs", "codes", "rates", "costs", "prices"]) {
        await page.getByTestId(list).waitFor();
      }
    },
    height: 1_200,
    kept: ["light-1280"],
  },
  {
    name: "alerts",
    path: () => "alerts",
    isThere: async (page) => {
      for (const list of ["rules", "endpoints", "deliveries"]) await page.getByTestId(list).waitFor();
    },
    height: 1_000,
    kept: ["light-1280"],
  },
];

describe.skipIf(chromium === undefined)("an admin's pages", { tags: ["browser"] }, () => {
  beforeAll(async () => {
    trial = await startTrial();
    admin = await adminOf(trial, "zoe@example.com");
    story = await manyUsers(trial);
  }, 300_000);
  afterAll(() => trial.close());

  test.each(views)("$name", async ({ scheme, width, name }) => {
    const page = await trial.visit({ scheme, width, path: "/admin/" });
    await signIn(page, admin.email);
    await page.getByTestId("users").waitFor();
    for (const place of places) {
      await page.goto(`${trial.url}/admin/${place.path()}`);
      await place.isThere(page);
      await page.mouse.move(0, 0);
      await page.waitForTimeout(400);
      expect([place.name, await widerBy(page)]).toEqual([place.name, 0]);
      if (folder === "" || !(isAll || place.kept.includes(name))) continue;
      const to = join(projectRoot, folder);
      mkdirSync(to, { recursive: true });
      await page.screenshot({
        path: join(to, `admin-${place.name}-${name}.png`),
        fullPage: true,
        ...(isAll ? {} : { clip: { x: 0, y: 0, width, height: place.height } }),
      });
    }
  });
});

const widerBy = (page: Page) =>
  page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
