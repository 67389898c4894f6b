// @module-tag proof
/** Alert rules, endpoints of webhooks and their deliveries in the console, in a real browser against the whole stack. */
import type { Page } from "playwright-core";
import { describe, expect, test } from "vitest";
import { chromium } from "../react/browser.ts";
import { openAdmin, withAdmin } from "./admin-story.ts";
import { type Opening, type Person, type Trial, violations, withFault } from "./page.ts";

const secretPath = "T0123/B0456/very-secret";

let trial: Trial;
let admin: Person;

describe.skipIf(chromium === undefined)("alerts, for an admin", { tags: ["browser"] }, () => {
  withAdmin("zoe-the-admin@example.com", (started, who) => {
    [trial, admin] = [started, who];
  });

  const open = async (opening: Opening = {}): Promise<Page> => {
    const page = await openAdmin(trial, admin, "alerts", opening);
    await page.getByRole("heading", { name: "Deliveries" }).waitFor();
    return page;
  };
  const rows = async (sql: string, values: unknown[] = []) =>
    (await trial.stack.db.admin.query(sql, values)).rows as Record<string, unknown>[];
  const press = (page: Page, name: string) => page.getByRole("button", { name, exact: true }).click();
  const choose = async (page: Page, of: string, verb: string) => {
    await press(page, `What to do with ${of}`);
    await page.getByRole("menuitem", { name: verb, exact: true }).click();
  };
  const fill = async (page: Page, values: Record<string, string>) => {
    for (const [name, value] of Object.entries(values)) {
      await page.getByRole("dialog").getByRole("textbox", { name, exact: true }).fill(value);
    }
  };
  const submit = (page: Page, verb: string) =>
    page.getByRole("dialog").getByRole("button", { name: verb, exact: true }).click();
  const done = async (page: Page) => {
    const text = await page.getByTestId("outcome").textContent();
    await submit(page, "Done");
    return text!;
  };
  /** So many deliveries to an endpoint, one for each grant. */
  const deliver = async (endpoint: string, count: number) => {
    const person = await trial.person(); // signing up is a grant too
    await trial.serve("set_token_webhook_endpoint", {
      p_name: endpoint,
      p_url: `https://hooks.example.com/${secretPath}`,
      p_kinds: ["token_grant.made"],
    });
    for (let n = 0; n < count; n++)
      await trial.serve("grant_tokens", { p_user_id: person.id, p_tokens: n + 1 });
    return person;
  };
  const giveUp = (endpoint: string, ids: number[] | null = null) =>
    rows(
      `update tokenbook.webhook_deliveries
          set status = 'given_up', attempts = 12, next_attempt_at = null, last_error = 'HTTP 503', settled_at = now()
        where endpoint = $1 and ($2::bigint[] is null or id = any ($2))`,
      [endpoint, ids],
    );
  const listed = (page: Page) => page.getByTestId("deliveries").locator("tbody tr");

  test("a fresh project is told what to do", async () => {
    const page = await open();
    for (const title of [
      "There is no rule",
      "Nobody is told by webhook",
      "Nothing was sent in the last 30 days",
    ]) {
      await expect.poll(() => page.getByText(title, { exact: true }).count()).toBe(1);
    }
    expect(await violations(page)).toEqual([]);
  });

  test("a rule is made for everyone, changed, and removed; alerts follow it", async () => {
    const page = await open();
    await press(page, "New rule");
    await fill(page, { "Name in code": "low", Tokens: "9500" });
    await submit(page, "Make");
    expect(await done(page)).toContain("The rule low holds.");
    await expect
      .poll(() => page.getByTestId("rules").textContent())
      .toContain("Fewer than 9,500 tokens are left");
    const person = await trial.person();
    await trial.serve("deduct_tokens_with_fifo", { p_user_id: person.id, p_tokens_to_deduct: 501 });
    const alerts = () => rows("select kind, rule from public.token_alerts where user_id = $1", [person.id]);
    expect(await alerts()).toEqual([{ kind: "dropped", rule: "low" }]);
    await choose(page, "rule low for everyone", "Change");
    await fill(page, { Tokens: "9000" });
    await page.getByRole("switch", { name: "Its end is an alert too" }).click();
    await submit(page, "Change");
    await done(page);
    await expect.poll(() => page.getByTestId("rules").textContent()).toMatch(/9,000.*And its end/);
    await choose(page, "rule low for everyone", "Remove");
    await submit(page, "Remove");
    expect(await done(page)).toContain("It is removed.");
    await expect.poll(() => page.getByText("There is no rule").count()).toBe(1);
    await trial.serve("deduct_tokens_with_fifo", { p_user_id: person.id, p_tokens_to_deduct: 600 });
    expect(await alerts()).toHaveLength(1);
  });

  test("a rule or an endpoint that is there already is not made anew", async () => {
    const address = "https://hooks.example.com/first";
    await trial.serve("set_token_webhook_endpoint", { p_name: "taken", p_url: address });
    await trial.serve("set_token_alert_rule", {
      p_rule: "taken",
      p_kind: "dropped",
      p_threshold_tokens: 5,
      p_for_everyone: true,
    });
    const page = await open();
    await press(page, "New endpoint");
    await fill(page, { Name: "taken", Address: "https://hooks.example.com/second" });
    await submit(page, "Make");
    await page.getByText("There is an endpoint taken already").waitFor();
    await submit(page, "Cancel");
    await press(page, "New rule");
    await fill(page, { "Name in code": "taken", Tokens: "9" });
    await submit(page, "Make");
    await page.getByText("There is a rule taken already").waitFor();
    // for a plan it is another
    await page.getByRole("combobox", { name: "For" }).click();
    await page.getByRole("option", { name: "Who is on Free" }).click();
    await submit(page, "Make");
    await done(page);
    expect(await rows("select url from tokenbook.webhook_endpoints where name = 'taken'")).toEqual([
      { url: address },
    ]);
    expect(
      await rows(
        "select plan_type, threshold_tokens::int as tokens from public.token_alert_rules where rule = 'taken' order by 2",
      ),
    ).toEqual([
      { plan_type: null, tokens: 5 },
      { plan_type: "free", tokens: 9 },
    ]);
    await rows("delete from tokenbook.webhook_endpoints where name = 'taken'");
    await rows("delete from public.token_alert_rules where rule = 'taken'");
  });

  test("what the server refuses of a rule is said in its words", async () => {
    const page = await open();
    await press(page, "New rule");
    await fill(page, { "Name in code": "both", Tokens: "5", Percent: "5" });
    await submit(page, "Make");
    await expect
      .poll(() => page.getByRole("dialog").getByRole("alert").textContent())
      .toMatch(/^Invalid alert rule/);
    expect(await rows("select from public.token_alert_rules where rule = 'both'")).toEqual([]);
  });

  describe("endpoints and deliveries", () => {
    /** What a page shows of an endpoint whose address is a secret. */
    async function shownOf(at?: string): Promise<string> {
      await deliver("slack", 1);
      const page = await open({ at });
      await page.getByTestId("endpoints").getByRole("row", { name: /slack/ }).waitFor();
      return await page.content();
    }

    test("an endpoint is shown without what may be a secret of its address", async () => {
      const html = await shownOf();
      expect([html.includes("https://hooks.example.com/…"), html.includes("very-secret")]).toEqual([
        true,
        false,
      ]);
      expect(html).toContain("TOKEN_WEBHOOK_SECRET_SLACK");
    });

    test("(known-bad) a page that writes the address down shows the secret", async () => {
      const whole = {
        file: "admin/alerts/Endpoints.tsx",
        right: 'return pathname === "/" && search === "" ? origin : `${origin}/…`;',
        wrong: "return origin + pathname + search;",
      };
      await withFault(trial, whole, async (url) => {
        expect((await shownOf(url)).includes("very-secret")).toBe(true);
      });
    });

    test("one is made, keeps its address when its kinds change, and is removed", async () => {
      const page = await open();
      await press(page, "New endpoint");
      await fill(page, { Name: "ops", Address: "http://hooks.example.com/x" });
      await submit(page, "Make");
      const dialog = page.getByRole("dialog");
      await expect.poll(() => dialog.getByRole("alert").textContent()).toMatch(/^Invalid webhook endpoint/);
      await fill(page, { Address: `https://hooks.example.com/${secretPath}` });
      await submit(page, "Make");
      expect(await done(page)).toContain("TOKEN_WEBHOOK_SECRET_OPS");
      await choose(page, "endpoint ops", "Change");
      await dialog.getByRole("combobox", { name: "Is told of" }).fill("frozen");
      await page.getByRole("option", { name: "token_account.frozen" }).click();
      await page.keyboard.press("Tab");
      await submit(page, "Change");
      await done(page);
      expect(await rows("select url, kinds from tokenbook.webhook_endpoints where name = 'ops'")).toEqual([
        { url: `https://hooks.example.com/${secretPath}`, kinds: ["token_account.frozen"] },
      ]);
      await choose(page, "endpoint ops", "Remove");
      await submit(page, "Remove");
      expect(await done(page)).toContain("told of nothing");
      expect(await rows("select from tokenbook.webhook_endpoints where name = 'ops'")).toEqual([]);
    });

    test("a delivery says whom it is about by their address, and that they were deleted", async () => {
      const person = await deliver("about", 1);
      const page = await open();
      const about = page.getByTestId("deliveries").locator("tbody tr").filter({ hasText: "to about" });
      await expect.poll(() => about.locator("td").first().textContent()).toBe(person.email);
      await rows("delete from auth.users where id = $1", [person.id]);
      await page.reload();
      await expect.poll(() => about.locator("td").first().textContent()).toBe(`A deleted user${person.id}`);
    });

    test("deliveries are paged and filtered by the database, and the address keeps the filter", async () => {
      await rows("delete from tokenbook.webhook_deliveries");
      await deliver("many", 60);
      await rows("delete from tokenbook.webhook_deliveries where endpoint <> 'many'");
      const page = await open();
      await expect.poll(() => listed(page).count()).toBe(25);
      await press(page, "More deliveries");
      await expect.poll(() => listed(page).count()).toBe(50);
      await press(page, "More deliveries");
      await expect.poll(() => listed(page).count()).toBe(60);
      const buttons = await listed(page)
        .getByRole("button")
        .evaluateAll((them) => them.map((it) => Number(/\d+/.exec(it.getAttribute("aria-label")!))));
      expect(buttons).toEqual(buttons.toSorted((one, other) => other - one));
      expect(new Set(buttons).size).toBe(60);
      const given = buttons.filter((_, n) => n % 20 === 7);
      await giveUp("many", given);
      await page.getByText("Given up", { exact: true }).first().click();
      await expect.poll(() => listed(page).first().textContent()).toContain("tried 12 times: HTTP 503");
      expect(
        await listed(page).evaluateAll((them) => them.map((it) => it.getAttribute("data-status"))),
      ).toEqual(["given_up", "given_up", "given_up"]);
      await page.reload();
      await expect.poll(() => listed(page).first().textContent()).toContain("HTTP 503");
      expect(new URL(page.url()).searchParams.get("status")).toBe("given_up");
    });

    test("one is sent again under its own id, and what was given up of an endpoint all at once", async () => {
      await deliver("again", 3);
      await giveUp("again");
      const before = await rows(
        "select id::int, event_id from tokenbook.webhook_deliveries where endpoint = 'again' order by id",
      );
      const page = await open();
      await press(page, `Send again delivery ${before[0]!["id"]}`);
      await submit(page, "Send again");
      await done(page);
      const waiting = () =>
        rows(
          "select id::int, event_id from tokenbook.webhook_deliveries where endpoint = 'again' and status = 'pending' order by id",
        );
      expect(await waiting()).toEqual([before[0]]);
      await choose(page, "endpoint again", "Send again what was given up");
      await submit(page, "Send again");
      expect(await done(page)).toBe("2 wait to be sent again.");
      expect(await waiting()).toEqual(before);
    });

    test("a delivery that is no longer there is refused in the server's words", async () => {
      await deliver("gone", 1);
      const [delivery] = await rows(
        "select id::int from tokenbook.webhook_deliveries where endpoint = 'gone'",
      );
      const page = await open();
      await press(page, `Send again delivery ${delivery!["id"]}`);
      await rows("delete from tokenbook.webhook_deliveries where endpoint = 'gone'");
      await submit(page, "Send again");
      await expect
        .poll(() => page.getByRole("dialog").getByRole("alert").textContent())
        .toMatch(/^Webhook delivery not found/);
    });

    test("a double click repeats one delivery, and makes no second", async () => {
      await deliver("twice", 1);
      await giveUp("twice");
      const of = "from tokenbook.webhook_deliveries where endpoint = 'twice'";
      const [before] = await rows(`select id::int, event_id ${of}`);
      const page = await open();
      await press(page, `Send again delivery ${before!["id"]}`);
      await page
        .getByRole("dialog")
        .getByRole("button", { name: "Send again" })
        .evaluate((it) => {
          (it as HTMLButtonElement).click();
          (it as HTMLButtonElement).click();
        });
      await done(page);
      expect(await rows(`select id::int, event_id, status, attempts ${of}`)).toEqual([
        { ...before, status: "pending", attempts: 0 },
      ]);
    });
  });

  const views = (["light", "dark"] as const).flatMap((scheme) =>
    [1280, 360].map((width) => ({ scheme, width })),
  );
  test.each(views)(
    "axe finds nothing in $scheme at $width, and nothing is wider than the window",
    async (view) => {
      await trial.serve("set_token_alert_rule", {
        p_rule: "a_very_long_name_".repeat(3) + "of_a_rule",
        p_kind: "expiring_soon",
        p_hours: 72,
        p_plan_type: "professional",
      });
      await deliver("endpoint_with_a_very_long_name_1", 2);
      await giveUp("endpoint_with_a_very_long_name_1");
      const page = await open(view);
      for (const list of ["rules", "endpoints", "deliveries"]) await page.getByTestId(list).waitFor();
      expect(await violations(page)).toEqual([]);
      expect(
        await page.evaluate(
          () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
        ),
      ).toBe(0);
      for (const button of ["New rule", "New endpoint"]) {
        await press(page, button);
        const dialog = page.getByRole("dialog");
        await dialog.waitFor();
        expect([button, await violations(page)]).toEqual([button, []]);
        await page.keyboard.press("Escape");
        await dialog.waitFor({ state: "hidden" });
      }
      await press(page, "What to do with endpoint endpoint_with_a_very_long_name_1");
      await page.getByRole("menuitem", { name: "Remove" }).waitFor();
      expect(await violations(page)).toEqual([]);
    },
  );
});
