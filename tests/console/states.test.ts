// @module-tag proof
/**
 * What an admin's pages show of nothing, of one, of very many, of very long words and very large numbers, and of all of that
 * from right to left. `LOOK=/tmp/pictures` writes what is seen.
 */
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { chromium } from "../react/browser.ts";
import { expectCleanBooks } from "../support/books.ts";
import { adminOf, openAdmin } from "./admin-story.ts";
import { excess, look, type Person, startTrial, type Trial, violations, withFault } from "./page.ts";

let trial: Trial;
let admin: Person;

describe.skipIf(chromium === undefined)("an admin's pages in every state", { tags: ["browser"] }, () => {
  beforeAll(async () => {
    trial = await startTrial();
    admin = await adminOf(trial, "zoe@example.com");
  }, 300_000);
  afterAll(async () => {
    await expectCleanBooks(trial.stack.db);
    await trial.close();
  });

  const open = (path: string, width = 1280, at?: string) => openAdmin(trial, admin, path, { width, at });
  const says = (page: Page, ...texts: string[]) =>
    Promise.all(texts.map((text) => page.getByText(text).first().waitFor()));

  test("nothing yet: each part says what will be there", async () => {
    const payments = await open("payments");
    await says(payments, "Nothing waits", "Nothing is parked", "Nothing was decided yet");
    expect(await violations(payments)).toEqual([]);
    const money = await open("money");
    await says(money, "No use was tracked in the last 30 days");
    await says(money, "Nothing was sold in the last 30 days, and nothing is owed");
    await look(money, "nothing-money");
    const books = await open("books");
    await says(books, "Every balance and every cost is what was recorded", "No rule of the books is broken");
    // one: the admin themself
    const users = await open("");
    await expect.poll(() => users.getByTestId("users").locator("tbody tr").count()).toBe(1);
  });

  test("somebody of whom there is nothing, and somebody who is nobody", async () => {
    const person = await trial.person();
    await trial.serve("deduct_tokens_with_fifo", { p_user_id: person.id, p_tokens_to_deduct: 10_000 });
    for (const width of [1280, 360]) {
      const page = await open(`users/${person.id}`, width);
      await expect.poll(() => page.getByTestId("their-balance").textContent()).toBe("0");
      await says(page, "No tokens to spend", "They have paid nothing, and asked for nothing");
      await look(page, `zero-${width}`);
      expect(await excess(page)).toBe(0);
    }
    const nobody = await open("users/00000000-0000-4000-8000-00000000dead");
    await expect.poll(() => nobody.getByRole("alert").first().textContent()).toMatch(/^User not found/);
  });

  /** Somebody with very large numbers, very long words, and words from right to left. */
  async function extreme(): Promise<Person> {
    const person = await trial.person(`${"very-long-name-".repeat(4)}${crypto.randomUUID()}@example.com`);
    await trial.stack.db.admin.query(
      `insert into public.token_packs (pack_type, name, tokens, price_cents) values ('vast', $1, 1000000000, 99999999)
       on conflict do nothing`,
      [`${"Vast".repeat(12)} שלום עולם مرحبا`],
    );
    for (let n = 0; n < 9; n++) {
      await trial.serve("grant_tokens", {
        p_user_id: person.id,
        p_tokens: 100_000_000_000,
        p_reason: "هدية من الفريق لصبرك أثناء الانقطاع",
      });
    }
    await trial.serve("track_token_usage", {
      p_user_id: person.id,
      p_action_type: "a_very_long_action_".repeat(2) + "end",
      p_model_used: "נמשכת-מימין-לשמאל-".repeat(3),
      p_tokens_used: 123_456_789_012,
    });
    const { payment_id } = (await trial.serve("create_token_payment", {
      p_user_id: person.id,
      p_pack_type: "vast",
    })) as { payment_id: string };
    await trial.serve("reject_token_payment", {
      p_user_id: person.id,
      p_payment_id: payment_id,
      p_reason: "x".repeat(500),
    });
    await trial.serve("create_token_payment", { p_user_id: person.id, p_pack_type: "vast" });
    return person;
  }

  const places = ({ id }: Person): [string, string, (page: Page) => Promise<unknown>][] => [
    ["users", "", (page) => page.getByTestId("users").waitFor()],
    [
      "user",
      `users/${id}`,
      async (page) => {
        await page.getByTestId("ledger").waitFor();
        await page.getByText("Tokens by day").waitFor({ state: "attached" });
        await page.getByRole("row", { name: "Vast" }).first().waitFor();
      },
    ],
    ["payments", "payments", (page) => page.getByRole("row", { name: "xxx" }).first().waitFor()],
    ["books", `books/${id}`, (page) => page.getByTestId("replay").waitFor()],
    ["money", "money", (page) => page.getByText("Tokens by day").waitFor({ state: "attached" })],
  ];

  test.each([1280, 360])(
    "very long words and very large numbers break nothing at %s, from left to right or from right to left",
    async (width) => {
      const person = await extreme();
      for (const [name, path, isThere] of places(person)) {
        const page = await open(path, width);
        await isThere(page);
        for (const dir of ["ltr", "rtl"]) {
          await page.evaluate((to) => (document.documentElement.dir = to), dir);
          await page.waitForTimeout(300);
          await look(page, `${name}-${width}-${dir}`);
          expect([name, dir, await excess(page)]).toEqual([name, dir, 0]);
          expect([name, dir, await violations(page)]).toEqual([name, dir, []]);
        }
      }
    },
  );

  /** Whether the ledger is mirrored, its figures stand at the end of their cells, and signs before them. */
  async function columnsFrom(dir: string, at?: string) {
    const person = await trial.person();
    const page = await open(`users/${person.id}`, 1280, at);
    await page.getByTestId("ledger").waitFor();
    await page.evaluate((to) => (document.documentElement.dir = to), dir);
    return await page
      .getByTestId("ledger")
      .locator("tbody tr")
      .first()
      .evaluate((row) => {
        const [first, last] = [row.firstElementChild!, row.lastElementChild!];
        const range = document.createRange();
        range.selectNodeContents(last);
        const [cell, figure] = [last.getBoundingClientRect(), range.getBoundingClientRect()];
        const isMirrored = first.getBoundingClientRect().left > cell.left;
        const atEnd = (isMirrored ? figure.left - cell.left : cell.right - figure.right) < 2;
        // +10,000
        const { firstChild: signed } = last.previousElementSibling!;
        const leftOf = (n: number) => {
          range.setStart(signed!, n);
          range.setEnd(signed!, n + 1);
          return range.getBoundingClientRect().left;
        };
        return { isMirrored, atEnd, isSignFirst: leftOf(0) < leftOf(1) };
      });
  }

  test("from right to left a table is mirrored, and its figures stand at the end of their columns", async () => {
    expect(await columnsFrom("ltr")).toEqual({ isMirrored: false, atEnd: true, isSignFirst: true });
    expect(await columnsFrom("rtl")).toEqual({ isMirrored: true, atEnd: true, isSignFirst: true });
  });

  test("(known-bad) figures that go the way of the words stand at the beginning there, with their signs behind", async () => {
    const bidi = { file: "page.css", right: "unicode-bidi: plaintext;", wrong: "" };
    const right = "td).number {\n  text-align: left;";
    const sides = { file: "page.css", right, wrong: right.replace("left", "right") };
    await withFault(trial, [bidi, sides], async (at) => {
      expect(await columnsFrom("rtl", at)).toEqual({ isMirrored: true, atEnd: false, isSignFirst: false });
    });
  });

  describe("very many", () => {
    test("payments wait, and the page takes them", async () => {
      const people = await Promise.all(Array.from({ length: 40 }, () => trial.person()));
      await trial.stack.db.admin.query(
        `insert into public.token_packs (pack_type, name, tokens, price_cents) values ('small', 'Small', 1000, 500)
         on conflict do nothing`,
      );
      for (const { id } of people) {
        await trial.serve("create_token_payment", { p_user_id: id, p_pack_type: "small" });
      }
      const page = await open("payments", 360);
      const item = page
        .getByTestId("waiting")
        .getByRole("listitem")
        .filter({ hasText: people.at(-1)!.email });
      await item.waitFor();
      expect(await page.getByTestId("waiting").getByRole("listitem").count()).toBeGreaterThanOrEqual(40);
      expect(await excess(page)).toBe(0);
    });

    /** Somebody with so many grants, and the preview of taking everything. */
    async function previewOfAll(grants: number, at?: string): Promise<string> {
      const person = await trial.person();
      for (let n = 0; n < grants; n++)
        await trial.serve("grant_tokens", { p_user_id: person.id, p_tokens: 10 });
      const page = await open(`users/${person.id}`, 360, at);
      await page.getByRole("button", { name: "Adjust", exact: true }).click();
      await page
        .getByRole("dialog")
        .getByRole("textbox", { name: "Tokens" })
        .fill(`-${10_000 + 10 * grants}`);
      const preview = page.getByRole("dialog").getByTestId("preview");
      await preview.waitFor();
      await look(page, `preview-${grants}`);
      expect(await excess(page)).toBe(0);
      return (await preview.textContent())!;
    }

    test("grants change: the first are shown, and how many more; beyond a hundred it says that it does not know all", async () => {
      expect(await previewOfAll(30)).toMatch(/and 25 more grants$/);
      const more = await previewOfAll(110);
      expect(more).toContain("and 94 more grants");
      expect(more).toContain("The rest comes from grants after the first hundred.");
    });

    test("(known-bad) a preview that shows only what fits says nothing of the others", async () => {
      const silent = {
        file: "admin/PreviewTable.tsx",
        right: "{changes.length > shown && (",
        wrong: "{changes.length > 1_000 && (",
      };
      await withFault(trial, silent, async (at) => {
        expect(await previewOfAll(12, at)).not.toContain("more grants");
      });
    });
  });
});
