// @module-tag proof
/** What is around the pages: who is signed in, what does not come, addresses, names, and where it is deployed. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Page } from "playwright-core";
import sirv from "sirv";
import { describe, expect, test } from "vitest";
import { chromium } from "../react/browser.ts";
import { openAdmin, sellSmallPack, withAdmin } from "./admin-story.ts";
import { excess, type Fault, type Person, signIn, type Trial, violations, withFault } from "./page.ts";

let trial: Trial;
let admin: Person;
/** With an address that turns around what stands after it. */
let turned: Person;

/** Each is found by one of the trials; all of them are in one build. */
const faults: Fault[] = [
  { file: "supabase.ts", right: "storage.removeItem(storageKey);", wrong: "" },
  { file: "parts/Theirs.tsx", right: 'words.replaceAll(turns, "\\uFFFD")', wrong: "words" },
  { file: "admin/SearchBox.tsx", right: 'type(value ?? "");', wrong: "" },
  { file: "admin/queries.ts", right: 'order: "oldest",', wrong: "" },
  {
    file: "admin/queries.ts",
    right: "page.length > parkedPage ? page[parkedPage - 1] : null",
    wrong: "null",
  },
  { file: "admin/queries.ts", right: "{ userId, after: pageParam,", wrong: "{ userId," },
  { file: "parts/PageName.tsx", right: "heading.current?.focus", wrong: "void heading.current?.blur" },
  { file: "admin/typed.ts", right: "numbersOf(language)", wrong: "numbersOf(navigator.language)" },
  { file: "parts/part.ts", right: "staleTime: Infinity,", wrong: "staleTime: Infinity, throwOnError: true," },
];

describe.skipIf(chromium === undefined)("around the pages", { tags: ["browser"] }, () => {
  withAdmin("zoe@example.com", async (started, who) => {
    [trial, admin] = [started, who];
    await sellSmallPack(trial);
    turned = await trial.person();
    turned.email = "evil\u202Emoc.elpmaxe@ecila";
    await trial.stack.db.admin.query("update auth.users set email = $2 where id = $1", [
      turned.id,
      turned.email,
    ]);
    await trial.serve("create_token_payment", { p_user_id: turned.id, p_pack_type: "small" });
    // who asked first waits longest: more than two pages of them
    await trial.stack.db.admin.query(
      `insert into public.token_payments (user_id, status, pack_type, amount_cents, currency, terms, created_at)
       select $1, 'pending', 'small', n * 100, 'usd', '{"name": "Small", "tokens": 1000}', timestamptz '2025-01-01Z' + n * interval '1 minute'
         from generate_series(1, 204) n`,
      [admin.id],
    );
    await trial.stack.db.admin.query(
      `select public.record_token_payment_event('stripe', 'evt-' || n, 'paid', 'pi_' || n,
                jsonb_build_object('kind', 'paid', 'occurred_at', now(), 'amount_cents', n, 'currency', 'usd'))
         from generate_series(1, 101) n`,
    );
  });

  const openAs = (path: string, at?: string, width = 1280) => openAdmin(trial, admin, path, { at, width });
  const isSignedOut = (page: Page) =>
    page
      .getByLabel("E-mail")
      .waitFor({ timeout: 4_000 })
      .then(
        () => true,
        () => false,
      );

  /** Signs in where the browser names its language so, and opens the page with the most figures and fields. */
  async function namedLanguage(language: string, at?: string): Promise<void> {
    const page = await trial.visit({ path: "/nowhere", at });
    await page.addInitScript((to) => {
      Object.defineProperty(navigator, "language", { get: () => to });
    }, language);
    await page.goto(`${at ?? trial.url}/admin/catalogue`);
    await page.getByLabel("E-mail").waitFor({ timeout: 4_000 });
    await signIn(page, admin.email);
    await page.getByRole("button", { name: "New pack" }).click({ timeout: 4_000 });
    await page.getByRole("dialog").getByLabel("Tokens", { exact: true }).waitFor();
  }

  /** Signs out while the server is down. @returns whether two tabs are signed out, and stay so */
  async function leave(at?: string): Promise<boolean[]> {
    const page = await trial.open(await trial.person(), { at });
    const tab = await page.context().newPage();
    await tab.goto(page.url());
    await tab.getByTestId("balance").waitFor();
    await trial.down();
    try {
      await page.getByRole("button", { name: "Account of" }).click();
      await page.getByRole("menuitem", { name: "Sign out" }).click();
      const both = await Promise.all([page, tab].map(isSignedOut));
      const kept = await page.evaluate(() =>
        Object.keys(localStorage).filter((key) => key.startsWith("tokenbook-")),
      );
      return [...both, kept.length === 0];
    } finally {
      await trial.up();
    }
  }

  /** What the sentence says by which an admin approves what somebody with such an address asked for, and what else does. */
  async function turnsOf(at?: string): Promise<string[]> {
    const found: string[] = [];
    const page = await openAs("payments", at);
    const look = async (where: string) => {
      const here = await page.evaluate(() => {
        const texts = Array.from(document.querySelectorAll("body *"), (it) => [
          ...Array.from(it.childNodes, (node) => (node.nodeType === Node.TEXT_NODE ? node.nodeValue! : "")),
          ...Array.from(it.attributes, ({ value }) => value),
        ]);
        return [...texts.flat(), document.title].filter((text) => /[\u202A-\u202E]/.test(text)).length;
      });
      if (here > 0) found.push(where);
    };
    const more = page.getByRole("button", { name: "More payments" });
    const waiting = page.getByTestId("waiting").getByRole("listitem");
    const item = waiting.filter({ hasText: "evil" });
    await waiting.first().waitFor();
    while ((await item.count()) === 0) {
      const listed = await waiting.count();
      await more.click();
      await expect.poll(() => waiting.count()).toBeGreaterThan(listed);
    }
    await item.getByRole("button", { name: "Approve" }).click();
    await page.getByRole("dialog").getByText("evil").waitFor();
    await look("approve");
    for (const path of ["?q=evil", `users/${turned.id}`, `books/${turned.id}`]) {
      await page.goto(`${at ?? trial.url}/admin/${path}`);
      await page.getByText("evil").first().waitFor();
      await look(path.split("/")[0]!);
    }
    return found;
  }

  /** What the box says after a link, and after the way back. */
  async function boxAfterLinks(at?: string): Promise<string[]> {
    const page = await openAs("?q=zoe", at);
    const box = page.getByLabel("Search by address or id");
    await page.getByTestId("users").waitFor();
    const says = [await box.inputValue()];
    await page.getByRole("link", { name: "Users", exact: true }).click();
    await page.waitForURL((url) => url.search === "");
    says.push(await box.inputValue());
    await page.goBack();
    await page.waitForURL((url) => url.search === "?q=zoe");
    return [...says, await box.inputValue()];
  }

  /** How many wait, and the amount of the first, page after page. */
  async function waitingOf(at?: string): Promise<[number, string][]> {
    const page = await openAs("payments", at);
    const items = page.getByTestId("waiting").getByRole("listitem");
    const more = page.getByRole("button", { name: "More payments" });
    const says = async (): Promise<[number, string]> => [
      await items.count(),
      /\$[\d.,]+/.exec((await items.first().textContent())!)![0],
    ];
    await items.first().waitFor();
    const seen = [await says()];
    for (const count of [200, 205]) {
      await more.click();
      await expect.poll(() => items.count()).toBe(count);
      seen.push(await says());
    }
    expect(await more.count()).toBe(0);
    return seen;
  }

  /** How many different ones are listed, before and after "More": of what is parked, and of what one user paid and asked for. */
  async function pagesOf(at?: string): Promise<number[][]> {
    const page = await openAs("payments", at);
    const pages = async (list: string, row: string, more: string, wanted: RegExp) => {
      const items = page.getByTestId(list).locator(row);
      const count = async () =>
        new Set((await items.allTextContents()).map((text) => wanted.exec(text)?.[0])).size;
      await items.first().waitFor();
      const seen = [await count()];
      const button = page.getByRole("button", { name: more });
      if ((await button.count()) === 0) return seen;
      const listed = await items.count();
      await button.click();
      await expect.poll(() => items.count()).toBeGreaterThan(listed);
      return [...seen, await count()];
    };
    const parked = await pages("parked", "li", "More parked payments", /pi_\d+/);
    await page.goto(`${at ?? trial.url}/admin/users/${admin.id}`);
    return [parked, await pages("payments", "tbody tr", "More payments", /\$[\d.,]+/)];
  }

  /** Where the focus is after one link and another, and what the window is called. */
  async function focusAfterLinks(at?: string): Promise<string[]> {
    const page = await openAs("", at);
    const focus = () => page.evaluate(() => `${document.activeElement!.tagName}: ${document.title}`);
    const seen: string[] = [];
    await page.getByRole("link", { name: admin.email }).click();
    await page.getByTestId("their-balance").waitFor();
    await expect.poll(() => page.title()).toContain(admin.email);
    seen.push(await focus());
    await page.getByRole("link", { name: "Money", exact: true }).click();
    await page.getByText("Still owed in tokens").or(page.getByText("nothing is owed")).first().waitFor();
    seen.push(await focus());
    return seen;
  }

  /** Opens the menu while one of its files cannot be had. @returns whether the page is there still, and says so */
  async function menuWithout(at?: string): Promise<[boolean, boolean]> {
    const page = await openAs("", at);
    await page.getByTestId("users").waitFor();
    await page.route(/\/assets\/MenuItem/, (route) => route.abort());
    await page.getByRole("button", { name: "Account of" }).click();
    const isSaid = await page
      .getByText("A part of this menu did not come.")
      .waitFor({ timeout: 4_000 })
      .then(
        () => true,
        () => false,
      );
    const isThere = (await page.getByTestId("users").count()) === 1;
    if (isSaid) {
      expect(await violations(page)).toEqual([]);
      await page.unroute(/\/assets\/MenuItem/);
      await page.getByRole("menuitem", { name: "Reload the page" }).click();
      await page.getByTestId("users").waitFor();
      await page.getByRole("button", { name: "Account of" }).click();
      await page.getByRole("menuitem", { name: "Look after users" }).waitFor();
    }
    return [isThere, isSaid];
  }

  test("signing out works in each tab, and in what is stored, when the server does not answer", async () => {
    expect(await leave()).toEqual([true, true, true]);
  });

  test("a server that answers forgets them too", async () => {
    const page = await trial.open(await trial.person());
    await page.getByRole("button", { name: "Account of" }).click();
    const told = page.waitForResponse(/\/auth\/v1\/logout\?scope=local/);
    await page.getByRole("menuitem", { name: "Sign out" }).click();
    expect((await told).status()).toBe(204);
    expect(await isSignedOut(page)).toBe(true);
  });

  test("a name that turns words around turns none, wherever it is shown", async () => {
    expect(await turnsOf()).toEqual([]);
  });

  test("the search box says what is searched for, also after a link and the way back", async () => {
    expect(await boxAfterLinks()).toEqual(["zoe", "", "zoe"]);
  });

  test("the payment that has waited longest is first, and every waiting payment can be reached", async () => {
    expect(await waitingOf()).toEqual([
      [100, "$1.00"],
      [200, "$1.00"],
      [205, "$1.00"],
    ]);
  });

  test("what is parked goes on after a page, and so does what one user paid and asked for", async () => {
    expect(await pagesOf()).toEqual([
      [100, 101],
      [50, 100],
    ]);
  });

  test("each page has its title, and a link to it moves the focus to its heading", async () => {
    expect(await focusAfterLinks()).toEqual(["H1: zoe@example.com · Tokenbook", "H1: Money · Tokenbook"]);
  });

  test("a part that does not come says so where it is, and comes with a reload", async () => {
    expect(await menuWithout()).toEqual([true, true]);
  });

  test("(known-bad) each of these is found", async () => {
    await withFault(trial, faults, async (at) => {
      expect(await leave(at)).toEqual([false, false, false]);
      expect(await boxAfterLinks(at)).toEqual(["zoe", "zoe", "zoe"]);
      expect((await waitingOf(at))[0]).not.toEqual([100, "$1.00"]);
      expect(await pagesOf(at)).toEqual([[100], [50, 50]]);
      expect(await turnsOf(at)).toEqual(["approve", "?q=evil", "users", "books"]);
      expect((await focusAfterLinks(at)).filter((it) => it.startsWith("H1"))).toEqual([]);
      expect(await menuWithout(at)).toEqual([false, false]);
      await expect(namedLanguage("en-US@posix", at)).rejects.toThrow("Timeout");
    });
  });

  describe("a file that is gone since a new version was deployed", () => {
    const gone = (page: Page, file: RegExp) => page.route(file, (route) => route.fulfill({ status: 404 }));

    test("a whole page: what is around it stays, and a reload is offered", async () => {
      for (const [file, path] of [
        [/\/assets\/Pages-/, "/admin/"],
        [/\/assets\/route-/, "/"],
      ] as const) {
        const page = await trial.visit({ path: "/nowhere" });
        await gone(page, file);
        await page.goto(trial.url + path);
        if (path !== "/") await signIn(page, admin.email);
        await page.getByText("A part of the page did not come").waitFor();
        expect(await page.getByRole("banner").count()).toBe(1);
        await page.unroute(file);
        await page.getByRole("button", { name: "Reload the page" }).click();
        await (path === "/" ? page.getByLabel("E-mail") : page.getByTestId("users")).waitFor();
      }
    });

    test("a chart: the rest of the page is there", async () => {
      const person = await trial.person();
      await trial.serve("track_token_usage", {
        p_user_id: person.id,
        p_action_type: "chat_conversation",
        p_model_used: "gpt-4",
        p_tokens_used: 30,
      });
      const page = await trial.visit();
      await gone(page, /\/assets\/UsageChart-.*\.js/);
      await signIn(page, person.email);
      await page.getByRole("alert").getByText("A part of the page did not come").waitFor();
      await page.getByTestId("ledger").waitFor();
      await page.unroute(/\/assets\/UsageChart-.*\.js/);
      await page.getByRole("button", { name: "Reload the page" }).click();
      await page.getByText("Tokens by day").waitFor({ state: "attached" });
    });
  });

  test("what cannot be searched for is not: very long words, and NUL", async () => {
    const page = await openAs(`?q=${"x".repeat(400)}`);
    await page.getByText("Nobody is found").waitFor();
    const box = page.getByLabel("Search by address or id");
    expect((await box.inputValue()).length).toBe(320);
    await page.goto(`${trial.url}/admin/?q=%00`);
    await page.getByTestId("users").waitFor();
    expect(await box.inputValue()).toBe("");
  });

  test("on a narrow screen each page of an admin's is in sight", async () => {
    const page = await openAs("", undefined, 360);
    const links = page.getByRole("navigation", { name: "Pages" }).getByRole("link");
    await links.first().waitFor();
    const ends = await links.evaluateAll((all) => all.map((it) => it.getBoundingClientRect().right));
    expect(ends).toHaveLength(6);
    for (const end of ends) expect(end).toBeLessThanOrEqual(360);
    expect(await excess(page)).toBe(0);
  });

  describe("a session that somebody has written", () => {
    const forge = (page: Page, how: "role" | "nobody") =>
      page.evaluate((what) => {
        const key = Object.keys(localStorage).find((it) => it.startsWith("tokenbook-"))!;
        const session = JSON.parse(localStorage.getItem(key)!);
        if (what === "role") session.user.app_metadata.role = "admin";
        else session.user = {};
        localStorage.setItem(key, JSON.stringify(session));
      }, how);

    test("of an admin who is none: refused in words", async () => {
      const page = await trial.open(await trial.person());
      await forge(page, "role");
      await page.goto(`${trial.url}/admin/payments`);
      await page.getByRole("alert").getByText("Forbidden").first().waitFor();
      expect(await page.getByRole("heading", { name: "Parked" }).count()).toBe(1);
    });

    test("of nobody: is none", async () => {
      const page = await trial.open(await trial.person());
      await forge(page, "nobody");
      await page.reload();
      expect(await isSignedOut(page)).toBe(true);
    });
  });

  test.each(["", "en-US@posix"])("a browser whose language is %j has the pages all the same", (language) =>
    namedLanguage(language),
  );

  describe("deployed", () => {
    /** A static host, with such a config.json, and in such a folder. */
    async function host<Result>(config: string, folder: string, work: (url: string) => Promise<Result>) {
      const files = sirv(trial.folder, { single: true });
      const server = createServer((asked, answer) => {
        if (!asked.url!.startsWith(folder)) return void answer.writeHead(404).end();
        asked.url = asked.url!.slice(folder.length - 1);
        if (asked.url === "/config.json")
          return void answer.writeHead(200, { "content-type": "application/json" }).end(config);
        files(asked, answer);
      });
      await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
      try {
        return await work(`http://127.0.0.1:${(server.address() as AddressInfo).port}${folder}`);
      } finally {
        server.closeAllConnections();
        server.close();
      }
    }

    const role = (name: string) =>
      ["{}", JSON.stringify({ role: name }), "x"]
        .map((it) => Buffer.from(it).toString("base64url"))
        .join(".");
    const project = (key: string, reads?: unknown) =>
      JSON.stringify({ url: "https://abcdefghijklmnopqrst.supabase.co", key, reads });

    test.each([
      ["", /There is no \/config.json with .*"url": "https:/],
      ["{ url: 'https", /There is no \/config.json with .*"url": "https:/],
      ["{}", /There is no \/config.json with .*"url": "https:/],
      [project("sb_secret_of_a_test"), /has the secret key/],
      [project(role("service_role")), /has the secret key/],
      [project("sb_publishable_of_a_test", "abcdefghijklmnopqrst"), /"reads" in \/config.json is no address/],
      [project("sb_publishable_of_a_test", 7), /"reads" in \/config.json is no address/],
      [project("sb_publishable_of_a_test", "https://replica.example.com"), /^.*Sign in/],
      [project(role("anon")), /^.*Sign in/],
    ])("with a config.json of %j", async (config, says) => {
      await host(config, "/", async (url) => {
        const page = await trial.visit({ at: url.slice(0, -1) });
        await expect.poll(() => page.getByRole("main").textContent()).toMatch(says);
      });
    });

    test("in a folder, it says where it belongs", async () => {
      await host(project("sb_publishable_of_a_test"), "/console/", async (url) => {
        const page = await trial.visit({ at: url, path: "" });
        await page.getByText("deploy it at the root of a domain").waitFor();
      });
    });
  });
});
