// @module-tag proof
/** Two admins who do the same at once: the second is told the truth, nothing is booked twice, both see the same in the end. */
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { chromium } from "../react/browser.ts";
import { expectCleanBooks } from "../support/books.ts";
import { adminOf, openAdmin, sellSmallPack, withUnpaidUse } from "./admin-story.ts";
import { type Person, startTrial, type Trial, withFault } from "./page.ts";

let trial: Trial;
let admins: Person[];

describe.skipIf(chromium === undefined)("two admins at once", { tags: ["browser"] }, () => {
  beforeAll(async () => {
    trial = await startTrial();
    admins = [await adminOf(trial), await adminOf(trial)];
    await sellSmallPack(trial);
  }, 300_000);
  afterAll(async () => {
    await expectCleanBooks(trial.stack.db);
    await trial.close();
  });

  /** The same page, as each of them. */
  const both = (path: string, at?: string) =>
    Promise.all(admins.map((admin) => openAdmin(trial, admin, path, { at })));
  const dialogOf = (page: Page) => page.getByRole("dialog");
  const outcome = async (page: Page) => {
    const said = dialogOf(page).getByTestId("outcome").or(dialogOf(page).getByRole("alert"));
    await said.waitFor();
    return (await said.textContent())!;
  };
  const entries = async (id: string, actions: string[]) => {
    const { rows } = await trial.stack.db.admin.query(
      "select tokens::int as tokens, actor_id from public.token_transactions where user_id = $1 and action_type = any ($2) order by id",
      [id, actions],
    );
    return rows as { tokens: number; actor_id: string }[];
  };

  describe("an adjustment", () => {
    const theirs = (page: Page) => page.getByTestId("their-balance").textContent();

    /** Both have the dialog open, of more than there is twice. @returns what both were told, and both pages */
    async function bothTake(at?: string) {
      const person = await trial.person();
      const pages = await both(`users/${person.id}`, at);
      for (const page of pages) {
        await page.getByTestId("their-balance").waitFor();
        await page.getByRole("button", { name: "Adjust", exact: true }).click();
        await dialogOf(page).getByRole("textbox", { name: "Tokens" }).fill("-7000");
        await dialogOf(page).getByRole("textbox", { name: "Reason" }).fill("charged wrongly");
        await dialogOf(page).getByTestId("preview").waitFor();
      }
      const [first, second] = pages as [Page, Page];
      await dialogOf(first).getByRole("button", { name: "Adjust" }).click();
      const told = [await outcome(first)];
      return { person, first, second, told };
    }

    test("the second sees before they press what the first has done, and all pages agree", async () => {
      const { person, first, second, told } = await bothTake();
      expect(told[0]).toContain("The balance is 3,000.");
      // untouched: what it would do was 10,000 to 3,000
      await expect
        .poll(() => dialogOf(second).getByTestId("preview").textContent(), { timeout: 15_000 })
        .toContain("They have 3,000: 4,000 are missing.");
      await dialogOf(second).getByRole("button", { name: "Adjust" }).click();
      expect(await outcome(second)).toBe("4,000 tokens were missing when it was tried. Nothing has changed.");
      expect(await entries(person.id, ["admin_deduct"])).toEqual([
        { tokens: -7_000, actor_id: admins[0]!.id },
      ]);
      for (const page of [first, second]) {
        await dialogOf(page).getByRole("button", { name: "Done" }).click();
        await expect.poll(() => theirs(page)).toBe("3,000");
        await expect.poll(() => page.getByTestId("ledger").getByText("Admin deduct").count()).toBe(1);
      }
    });

    test("(known-bad) a page that does not ask about its user shows the second what was", async () => {
      const deaf = { file: "admin/UserPage.tsx", right: "<Fresh />", wrong: "" };
      await withFault(trial, deaf, async (at) => {
        const { second } = await bothTake(at);
        await second.waitForTimeout(9_000);
        expect(await dialogOf(second).getByTestId("preview").textContent()).toContain("Balance10,0003,000");
      });
    });

    test("(known-bad) a dialog that takes every answer for a success says what is not so", async () => {
      const glad = { file: "admin/GiveDialogs.tsx", right: "if (!done.success) {", wrong: "if (false) {" };
      await withFault(trial, glad, async (at) => {
        const { second, person } = await bothTake(at);
        await dialogOf(second).getByRole("button", { name: "Adjust" }).click();
        expect(await outcome(second)).toContain("−7,000 tokens");
        expect(await entries(person.id, ["admin_deduct"])).toHaveLength(1);
      });
    });
  });

  describe("a payment", () => {
    const item = (page: Page, { email }: Person) =>
      page.getByTestId("waiting").getByRole("listitem").filter({ hasText: email });
    const given = async ({ id }: Person) => {
      const { rows } = await trial.stack.db.admin.query(
        "select tokens::int as tokens from public.token_transactions where user_id = $1 and payment_id is not null",
        [id],
      );
      return rows as { tokens: number }[];
    };

    /** Both have a dialog of the same payment open; the first approves it. @returns what the second is told */
    async function bothDecide(second: "Approve" | "Reject", at?: string) {
      const person = await trial.person();
      await trial.serve("create_token_payment", { p_user_id: person.id, p_pack_type: "small" });
      const pages = await both("payments", at);
      for (const [n, verb] of (["Approve", second] as const).entries()) {
        await item(pages[n]!, person).getByRole("button", { name: verb }).click();
        if (verb === "Reject") await dialogOf(pages[n]!).getByLabel("Reason").fill("no money came");
      }
      await dialogOf(pages[0]!).getByRole("button", { name: "Approve" }).click();
      expect(await outcome(pages[0]!)).toContain("1,000 tokens are given.");
      await dialogOf(pages[1]!).getByRole("button", { name: second }).click();
      return { person, pages, told: await outcome(pages[1]!) };
    }
    const statusOf = async ({ id }: Person) => {
      const { rows } = await trial.stack.db.admin.query(
        "select status, decided_by from public.token_payments where user_id = $1",
        [id],
      );
      return rows as { status: string; decided_by: string }[];
    };

    test("approved twice gives its tokens once, and the second is told so", async () => {
      const { person, pages, told } = await bothDecide("Approve");
      expect(told).toBe("It had been approved already; nothing was given twice.");
      expect(await statusOf(person)).toEqual([{ status: "approved", decided_by: admins[0]!.id }]);
      expect(await given(person)).toEqual([{ tokens: 1_000 }]);
      for (const page of pages) {
        await dialogOf(page).getByRole("button", { name: "Done" }).click();
        await expect.poll(() => page.getByText(person.email).count()).toBe(1);
        await expect
          .poll(() => page.getByRole("row", { name: person.email }).textContent())
          .toContain("$5.00");
        expect(await item(page, person).count()).toBe(0);
      }
    });

    test("rejected after it was approved is refused, and the list behind the dialog says what it is by now", async () => {
      const { person, pages, told } = await bothDecide("Reject");
      expect(told).toMatch(/^Payment already decided/);
      expect(await statusOf(person)).toMatchObject([{ status: "approved" }]);
      // at once: not when the page is read again by itself
      await expect
        .poll(() => pages[1]!.getByTestId("waiting").getByText(person.email).count(), { timeout: 5_000 })
        .toBe(0);
    });

    test("(known-bad) a dialog that does not look at the answer says that it gave again", async () => {
      const file = "admin/PaymentsPage.tsx";
      await withFault(trial, { file, right: "{done.replayed", wrong: "{false" }, async (at) => {
        const { told, person } = await bothDecide("Approve", at);
        expect(told).toContain("1,000 tokens are given.");
        expect(await given(person)).toHaveLength(1);
      });
    });

    test("(known-bad) a dialog that does not wait for the answer says that it rejected what is approved", async () => {
      const hasty = {
        file: "admin/PaymentsPage.tsx",
        right: "await books.payments.reject(id, { userId, reason: why });",
        wrong: "void books.payments.reject(id, { userId, reason: why }).catch(() => {});",
      };
      await withFault(trial, hasty, async (at) => {
        const { told, person } = await bothDecide("Reject", at);
        expect(told).toBe("It is rejected, and gave nothing.");
        expect(await statusOf(person)).toMatchObject([{ status: "approved" }]);
      });
    });
  });

  describe("a repair", () => {
    /** Both have it open, and both book it. @returns what the second is told */
    async function bothRepair(at?: string) {
      const person = await withUnpaidUse(trial, 2_500);
      const pages = await both(`books/${person.id}`, at);
      for (const page of pages) {
        await page.getByRole("button", { name: "Repair" }).click();
        await dialogOf(page).getByTestId("preview").waitFor();
      }
      await dialogOf(pages[0]!).getByRole("button", { name: "Book it" }).click();
      expect(await outcome(pages[0]!)).toContain("The balance is 7,200.");
      await dialogOf(pages[1]!).getByRole("button", { name: "Book it" }).click();
      return { person, pages, told: await outcome(pages[1]!) };
    }

    test("is booked once, and both see that nothing is off any more", async () => {
      const { person, pages, told } = await bothRepair();
      expect(told).toBe("The books have moved on meanwhile, and nothing was booked. Look again.");
      expect(await entries(person.id, ["admin_deduct"])).toEqual([
        { tokens: -2_500, actor_id: admins[0]!.id },
      ]);
      for (const page of pages) {
        await dialogOf(page).getByRole("button", { name: "Done" }).click();
        await expect.poll(() => page.getByTestId("difference").textContent()).toBe("0");
        await expect.poll(() => page.getByRole("button", { name: "Repair" }).count()).toBe(0);
      }
    });

    test("(known-bad) planned once and booked under a key of each dialog it is booked twice", async () => {
      const file = "admin/ReconcilePage.tsx";
      const faults = [
        { file, right: "const now = planRepair(await admin.reconcile(userId));", wrong: "const now = plan;" },
        { file, right: "idempotencyKey: now.key,", wrong: "idempotencyKey: crypto.randomUUID()," },
      ];
      await withFault(trial, faults, async (at) => {
        const { person } = await bothRepair(at);
        const booked = await entries(person.id, ["admin_deduct"]);
        console.log(`repaired by two, planned once, a key each: booked ${booked.length} times`);
        expect(booked).toHaveLength(2);
        await trial.serve("adjust_tokens", {
          p_user_id: person.id,
          p_delta: 2_500,
          p_reason: "undone by the test",
        });
      });
    });
  });
});
