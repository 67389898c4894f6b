// @module-tag proof
/** An admin's pages on a slow network, without answers, and while the server is down. */
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { chromium } from "../react/browser.ts";
import { expectCleanBooks } from "../support/books.ts";
import { adminOf, openAdmin, sellSmallPack, withUnpaidUse } from "./admin-story.ts";
import {
  aKeyForEach,
  jumps,
  type Person,
  saysBalance,
  slowDown,
  startTrial,
  type Trial,
  withFault,
} from "./page.ts";

let trial: Trial;
let admin: Person;

describe.skipIf(chromium === undefined)("a network that is not good", { tags: ["browser"] }, () => {
  beforeAll(async () => {
    trial = await startTrial();
    admin = await adminOf(trial);
    await sellSmallPack(trial);
  }, 300_000);
  afterAll(async () => {
    await expectCleanBooks(trial.stack.db);
    await trial.close();
  });

  const open = (path: string, at?: string) => openAdmin(trial, admin, path, { at });
  const count = async (id: string, actions: string[]) => {
    const { rows } = await trial.stack.db.admin.query(
      "select count(*)::int as n from public.token_transactions where user_id = $1 and action_type = any ($2)",
      [id, actions],
    );
    return rows[0].n as number;
  };
  const dialogOf = (page: Page) => page.getByRole("dialog");
  const theirs = (page: Page) => page.getByTestId("their-balance").textContent();
  /** Opens the dialog of an adjustment, and fills it. */
  const fill = async (page: Page, tokens: string) => {
    await page.getByTestId("their-balance").waitFor();
    await page.getByRole("button", { name: "Adjust", exact: true }).click();
    await dialogOf(page).getByRole("textbox", { name: "Tokens" }).fill(tokens);
    await dialogOf(page).getByRole("textbox", { name: "Reason" }).fill("as a test wants it");
    return dialogOf(page).getByRole("button", { name: "Adjust" });
  };

  const again = (page: Page) =>
    dialogOf(page).getByRole("button", { name: "Try again", exact: true }).click();

  describe("on a slow one", () => {
    const places: [string, (page: Page) => Promise<void>][] = [
      ["", (page) => page.getByTestId("users").waitFor()],
      ["users/", (page) => page.getByTestId("ledger").waitFor()],
      ["payments", (page) => page.getByTestId("waiting").waitFor()],
      ["books", (page) => page.getByText("No rule of the books is broken").waitFor()],
      ["money", (page) => page.getByTestId("revenue").waitFor()],
    ];

    test.each(places)("nothing jumps: /admin/%s", async (path, isThere) => {
      const person = await trial.person();
      await trial.serve("create_token_payment", { p_user_id: person.id, p_pack_type: "small" });
      const sale = { p_grant_type: "purchase", p_cost_basis_cents: 900, p_currency: "usd", p_priority: 1 };
      await trial.serve("grant_tokens", { p_user_id: person.id, p_tokens: 900, ...sale });
      await trial.serve("track_token_usage", {
        p_user_id: person.id,
        p_action_type: "chat_conversation",
        p_model_used: "gpt-4",
        p_tokens_used: 90,
      });
      const page = await open(path === "users/" ? `users/${person.id}` : path);
      await isThere(page);
      await slowDown(page);
      await page.reload();
      await isThere(page);
      await page.waitForTimeout(2_000);
      const shift = await jumps(page);
      console.log(`layout shift of /admin/${path} on a slow network=${shift.toFixed(4)}`);
      expect(shift).toBeLessThan(0.1);
    });

    /** How far the user's page jumps on a small screen, where everything is below one another. */
    async function jumpsOfUser(at = trial.url): Promise<number> {
      const page = await trial.open(await trial.person(), { at, width: 360 });
      await slowDown(page);
      await page.reload();
      await saysBalance(page, "10,000");
      await page.getByTestId("ledger").waitFor();
      await page.waitForTimeout(2_000);
      return await jumps(page);
    }

    test("nothing jumps on a small screen", async () => {
      const shift = await jumpsOfUser();
      console.log(`layout shift at 360 on a slow network=${shift.toFixed(4)}`);
      expect(shift).toBeLessThan(0.1);
    });

    test("(known-bad) parts that keep no space for what comes push the rest down", async () => {
      const [right, none] = ["if (data === undefined) {", "if (data === undefined) return null;"];
      const spaceless = [
        { file: "user/Grants.tsx", right, wrong: `${none}\n${right}` },
        {
          file: "user/Plan.tsx",
          right: "if (subscription === undefined) {",
          wrong: "if (subscription === undefined) return null;\nif (subscription === undefined) {",
        },
      ];
      await withFault(trial, spaceless, async (at) => {
        const shift = await jumpsOfUser(at);
        console.log(`layout shift at 360 without the space=${shift.toFixed(4)}`);
        expect(shift).toBeGreaterThan(0.1);
      });
    });

    /** Two clicks, while the first has no answer yet. */
    const twice = (page: Page, verb: string) =>
      dialogOf(page)
        .getByRole("button", { name: verb })
        .evaluate(async (it) => {
          (it as HTMLButtonElement).click();
          await new Promise((done) => setTimeout(done, 150));
          (it as HTMLButtonElement).click();
        });

    test("two clicks adjust, approve and repair once, and the dialog waits for the answer", async () => {
      const [adjusted, approved, repaired] = [
        await trial.person(),
        await trial.person(),
        await withUnpaidUse(trial, 500),
      ];
      await trial.serve("create_token_payment", { p_user_id: approved.id, p_pack_type: "small" });

      const user = await open(`users/${adjusted.id}`);
      await fill(user, "250");
      const payments = await open("payments");
      const item = payments.getByTestId("waiting").getByRole("listitem").filter({ hasText: approved.email });
      await item.getByRole("button", { name: "Approve" }).click();
      const books = await open(`books/${repaired.id}`);
      await books.getByRole("button", { name: "Repair" }).click();

      for (const [page, verb] of [
        [user, "Adjust"],
        [payments, "Approve"],
        [books, "Book it"],
      ] as const) {
        await slowDown(page);
        await twice(page, verb);
        await page.keyboard.press("Escape");
        expect(await dialogOf(page).getByRole("button", { name: "Close" }).isDisabled()).toBe(true);
        await dialogOf(page).getByTestId("outcome").waitFor();
        await page.waitForTimeout(1_500);
      }
      expect([
        await count(adjusted.id, ["admin_grant"]),
        await count(approved.id, ["token_pack_purchase"]),
        await count(repaired.id, ["admin_deduct"]),
      ]).toEqual([1, 1, 1]);
    });

    test("(known-bad) a dialog that can be left before the answer says nothing of it", async () => {
      const left = { file: "admin/ActDialog.tsx", right: "closeOnEscape={!doing.isPending}", wrong: "" };
      await withFault(trial, left, async (at) => {
        const page = await open(`users/${(await trial.person()).id}`, at);
        await fill(page, "250");
        await slowDown(page);
        await twice(page, "Adjust");
        await page.keyboard.press("Escape");
        await dialogOf(page).waitFor({ state: "hidden" });
      });
    });
  });

  describe("one that loses every answer", () => {
    /** The adjustment is booked, and no answer comes; later it does, and the admin presses again. */
    async function pressedAgain(at?: string): Promise<{ told: string; booked: number }> {
      const person = await trial.person();
      const page = await open(`users/${person.id}`, at);
      const button = await fill(page, "700");
      let isLost = true;
      await page.route(/rpc\/adjust_tokens/, async (route) => {
        if (!isLost) return await route.continue();
        await route.fetch();
        await route.abort();
      });
      await button.click();
      await expect
        .poll(() => dialogOf(page).getByRole("alert").textContent(), { timeout: 60_000 })
        .toMatch(/^The server does not answer/);
      // what was sent is what it is tried again with, and the rest is not said: it may be so by now
      for (const name of ["Tokens", "Reason"]) {
        expect(await dialogOf(page).getByRole("textbox", { name }).isDisabled()).toBe(true);
      }
      expect(await dialogOf(page).getByTestId("not-known").textContent()).toContain("it is done once");
      expect(await dialogOf(page).getByTestId("preview").count()).toBe(0);
      isLost = false;
      await again(page);
      await dialogOf(page).getByTestId("outcome").waitFor();
      const told = (await dialogOf(page).getByTestId("outcome").textContent())!;
      return { told, booked: await count(person.id, ["admin_grant"]) };
    }

    test("says that no answer came; pressed again it is done once, and says so", async () => {
      const { told, booked } = await pressedAgain();
      expect(told).toContain("nothing was done twice");
      expect(booked).toBe(1);
    });

    test("(known-bad) with a key for each try it is done twice", async () => {
      await withFault(trial, aKeyForEach, async (at) => {
        const { booked } = await pressedAgain(at);
        console.log(`no answer, pressed again, a key each: done ${booked} times`);
        expect(booked).toBe(2);
      });
    });
  });

  describe("a server that goes down and comes back", () => {
    const isDown = (page: Page) =>
      expect.poll(() => page.getByText(/server does not answer; it/).count(), { timeout: 40_000 });

    test("one user's page: what is shown stays, an action says so, and is done once when it is pressed again", async () => {
      const person = await trial.person();
      const page = await open(`users/${person.id}`);
      const button = await fill(page, "-1000");
      await trial.down();
      await isDown(page).toBe(1);
      expect(await theirs(page)).toBe("10,000");
      await button.click();
      await expect
        .poll(() => dialogOf(page).getByRole("alert").textContent(), { timeout: 60_000 })
        .toMatch(/^The server does not answer/);
      await trial.serve("deduct_tokens_with_fifo", { p_user_id: person.id, p_tokens_to_deduct: 400 });
      await trial.up();
      await isDown(page).toBe(0);
      await again(page);
      await expect
        .poll(() => dialogOf(page).getByTestId("outcome").textContent())
        .toContain("The balance is 8,600.");
      await dialogOf(page).getByRole("button", { name: "Done" }).click();
      await expect.poll(() => theirs(page)).toBe("8,600");
      expect(await count(person.id, ["admin_deduct"])).toBe(1);
    });

    /** A list of users while the server is down, and what becomes of a spending meanwhile. */
    async function listAfter(at?: string, patience = 20_000): Promise<boolean> {
      const person = await trial.person();
      const page = await open(`?q=${person.email}`, at);
      const row = page.getByRole("row", { name: person.email });
      await row.getByText("10,000").waitFor();
      await trial.down();
      await isDown(page).toBe(1);
      expect(await row.textContent()).toContain("10,000");
      await trial.serve("deduct_tokens_with_fifo", { p_user_id: person.id, p_tokens_to_deduct: 400 });
      await trial.up();
      await isDown(page).toBe(0);
      return await row
        .getByText("9,600")
        .waitFor({ timeout: patience })
        .then(
          () => true,
          () => false,
        );
    }

    test("the list: what is shown stays, and is read again by itself", async () => {
      expect(await listAfter()).toBe(true);
    });

    test("(known-bad) a page that does not notice that the server is back shows what was", async () => {
      const right = "const isBack = wasDown.current && !isError;";
      const wrong = "const isBack = false;";
      await withFault(trial, { file: "data/Fresh.tsx", right, wrong }, async (at) => {
        expect(await listAfter(at, 6_000)).toBe(false);
      });
    });
  });
});
