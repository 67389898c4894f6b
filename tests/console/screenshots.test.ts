// @module-tag proof
/**
 * Every page of the console in light and dark, wide and narrow, with a month's story: it opens, and nothing is wider than
 * the window. `npm run console:screenshots` writes the pictures to docs/console; look at them before you commit them.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { projectRoot } from "../../scripts/project.ts";
import { chromium } from "../react/browser.ts";
import { expectCleanBooks } from "../support/books.ts";
import { excess, overEdges, type Person, startTrial, type Trial, withFault } from "./page.ts";

/** Where to; empty: nowhere. */
const folder = process.env["SCREENSHOTS"] ?? "";
const views = (["light", "dark"] as const).flatMap((scheme) =>
  [1280, 768, 360].map((width) => ({ scheme, width, name: `${scheme}-${width}` })),
);
/** What the README and the guide show. */
const kept = ["light-1280", "dark-1280", "light-360"];
const days = 27;

let trial: Trial;
let mira: Person;

describe.skipIf(chromium === undefined)("the console's pages", { tags: ["browser"] }, () => {
  beforeAll(async () => {
    trial = await startTrial();
    await trial.stack.db.admin.query(
      `insert into public.token_packs (pack_type, name, tokens, price_cents, stripe_price_id)
       values ('pack_500k', 'Half a million', 500000, 900, 'price_500k'), ('pack_2m', 'Two million', 2000000, 2900, 'price_2m')`,
    );
    await trial.stack.db.admin.query(
      `insert into public.token_plans (plan_type, name, tokens, price_cents, billing_cycle, is_offered) values
         ('studio', 'Studio', 5000000, 11000, '28day', true), ('agency', 'Agency', 90000000, 129900, 'annual', true)`,
    );
    mira = await trial.person("mira@example.com");
    await story(mira);
  }, 300_000);
  afterAll(async () => {
    await expectCleanBooks(trial.stack.db);
    await trial.close();
  });

  /** A month of somebody who writes with models: what happened is moved back a day at a time. */
  async function story({ id }: Person): Promise<void> {
    const { db } = trial.stack;
    await db.admin.query("insert into tokenbook.test_users (user_id) values ($1)", [id]);
    await trial.serve("grant_tokens", { p_user_id: id, p_tokens: 500_000, p_grant_type: "purchase" });
    const models = ["gpt-4", "gpt-4", "claude-sonnet-4", "gpt-4o-mini"];
    for (let day = 0; day < days; day++) {
      // less at weekends, more towards the end
      const calls = day % 7 > 4 ? 1 : 3 + (day % 3);
      for (let n = 0; n < calls; n++) {
        await trial.serve("track_token_usage", {
          p_user_id: id,
          p_action_type: ["chat_conversation", "blueprint_generation", "image_generation"][(day + n) % 3],
          p_model_used: models[(day * 3 + n) % models.length],
          p_tokens_used: 900 + ((day * 577 + n * 1_301) % 4_200) + day * 60,
        });
      }
      if (day === 20) {
        await trial.serve("grant_tokens", {
          p_user_id: id,
          p_tokens: 50_000,
          p_grant_type: "trial",
          p_reason: "thank you for your patience on Tuesday",
        });
      }
      await db.admin.query("select tokenbook.advance_test_clock($1, '1 day')", [id]);
    }
    const reserve = { p_user_id: id, p_tokens: 4_000, p_action_type: "chat_conversation" };
    const { hold_id } = (await trial.serve("reserve_tokens", reserve)) as { hold_id: string };
    const used = { p_model_used: "gpt-4", p_input_tokens: 2_100, p_output_tokens: 650 };
    await trial.serve("capture_tokens", { p_user_id: id, p_hold_id: hold_id, p_tokens: 2_750, ...used });
    await trial.serve("reserve_tokens", reserve);
  }

  test.each(views)("$name", async ({ scheme, width, name }) => {
    const entrance = await trial.visit({ scheme, width });
    await entrance.getByLabel("E-mail").waitFor();
    expect(await excess(entrance)).toBe(0);
    const page = await trial.open(mira, { scheme, width });
    await page.getByText("Tokens by day").waitFor({ state: "attached" });
    await page.getByRole("button", { name: "Chat conversation" }).nth(1).click();
    await page.getByText("Paid by").waitFor();
    await page.mouse.move(0, 0);
    expect(await excess(page)).toBe(0);
    expect(await overEdges(page)).toEqual([]);
    if (folder === "" || !kept.includes(name)) return;
    const to = join(projectRoot, folder);
    mkdirSync(to, { recursive: true });
    const height = width === 360 ? 2_000 : 1_280;
    await page.screenshot({
      path: join(to, `user-${name}.png`),
      fullPage: true,
      clip: { x: 0, y: 0, width, height },
    });
    if (name === "light-1280") {
      await entrance.setViewportSize({ width: 640, height: 520 });
      await entrance.screenshot({ path: join(to, "sign-in.png") });
    }
  });

  /** What stands over an edge of the plans, at each width. */
  async function plansAt(at?: string): Promise<string[]> {
    const page = await trial.open(mira, { at });
    await page.getByRole("tab", { name: "Plans" }).click();
    await page.getByRole("button", { name: /Agency/ }).waitFor();
    const found: string[] = [];
    for (const width of [1440, 1280, 1024, 992, 768, 360]) {
      await page.setViewportSize({ width, height: 900 });
      found.push(...(await overEdges(page)).map((it) => `${width}: ${it}`));
      if ((await excess(page)) > 0) found.push(`${width}: the page`);
    }
    return found;
  }

  test("plans and their prices stay within their part of the page at every width", async () => {
    expect(await plansAt()).toEqual([]);
  });

  test("(known-bad) prices that stay beside their names run over the edge", async () => {
    const right = 'justify="space-between" gap="sm" className={classes["offer"]!}';
    const tight = { file: "user/Buy.tsx", right, wrong: `wrap="nowrap" ${right}` };
    const stiff = { file: "user/Buy.module.css", right: "flex: 1 1 7rem;\n  min-width: 0;", wrong: "" };
    await withFault(trial, [tight, stiff], async (at) => {
      const found = await plansAt(at);
      console.log(`over an edge at ${new Set(found.map((it) => it.split(":")[0])).size} of 6 widths`);
      expect(found).not.toEqual([]);
    });
  });
});
