// @module-tag proof
/** The console of a project with a read replica, in a browser: which of the two each page asks. */
import { type Api, startApi } from "local-platform/gateway/api";
import type { Locator, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ServedConsole, serveConsole } from "../../packages/tokenbook/src/console/serve.ts";
import { adminOf } from "../console/admin-story.ts";
import {
  type Fault,
  type Person,
  signIn,
  startLine,
  startTrial,
  type Trial,
  withFault,
} from "../console/page.ts";
import { chromium } from "../react/browser.ts";
import { expectCleanBooks } from "../support/books.ts";
import { startReplicated } from "../support/standby.ts";

let trial: Trial;
let replica: Api;
let line: Awaited<ReturnType<typeof startLine>>;
let served: ServedConsole;
let admin: Person;
let person: Person;

/** Reports that are asked of the primary alone, and pages of an admin's that are asked of the replica. */
const faults: Fault[] = [
  { file: "admin/queries.ts", right: "tokenbook(supabase, { reads })", wrong: "tokenbook(supabase)" },
  {
    file: "admin/queries.ts",
    right: "tokenbookAdmin(supabase, { reads })",
    wrong: "tokenbookAdmin(reads ?? supabase)",
  },
];

describe.skipIf(chromium === undefined)("with a read replica", { tags: ["browser"] }, () => {
  beforeAll(async () => {
    const both = await startReplicated();
    trial = await startTrial({}, { ...both.primary, drop: () => both.close() });
    const { keys } = trial.stack;
    replica = await startApi({ databaseUrlFor: (role) => both.standby.url(role), keys, port: 0 });
    line = await startLine(Number(new URL(replica.url).port));
    served = await serveConsole(
      { url: trial.api, key: keys.publishableKey, reads: line.url },
      0,
      trial.folder,
    );
    admin = await adminOf(trial);
    person = await trial.person();
    await trial.serve("grant_tokens", {
      p_user_id: person.id,
      p_tokens: 900,
      p_grant_type: "purchase",
      p_cost_basis_cents: 900,
      p_currency: "usd",
      p_expires_at: new Date(Date.now() + 5 * 86_400_000).toISOString(),
    });
    await trial.serve("track_token_usage", {
      p_user_id: person.id,
      p_action_type: "chat_conversation",
      p_model_used: "gpt-4",
      p_tokens_used: 90,
    });
    await trial.serve("get_token_revenue", {});
    await both.caughtUp();
  }, 300_000);
  afterAll(async () => {
    await expectCleanBooks(trial.stack.db);
    await served.close();
    await line.cut();
    await replica.close();
    await trial.close();
  });

  /** Opens pages of an admin's one after the other, and notes what each asks of which: "replica GET get_token_revenue". */
  async function openNoting(at: string): Promise<{ page: Page; go: Go; asked: () => string[] }> {
    let noted = new Set<string>();
    const page = await trial.visit({ at, path: "/nowhere" });
    page.on("request", (request) => {
      const { origin, pathname } = new URL(request.url());
      const name = /^\/(?:rest\/v1\/rpc|functions\/v1)\/(.+)$/.exec(pathname)?.[1];
      const which = { [trial.api]: "primary", [line.url]: "replica" }[origin];
      if (name !== undefined) noted.add(`${which} ${request.method()} ${name}`);
    });
    await page.goto(`${at}/admin/payments`);
    await signIn(page, admin.email);
    await page.getByRole("heading", { name: "Parked" }).waitFor();
    const asked = () => [...noted].toSorted();
    const go: Go = async (path, ...areThere) => {
      await page.goto(`${at}/nowhere`); // what the page before still asked is not this one's
      noted = new Set();
      await page.goto(at + path);
      for (const part of areThere) await part(page).first().waitFor();
      return asked();
    };
    return { page, go, asked };
  }

  const sweepsAreOver = (page: Page) => page.getByText("No rule of the books is broken");
  const comparisonIsOver = (page: Page) =>
    page.getByText("Every balance and every cost is what was recorded");
  /** Money's three parts: usage, revenue, what runs out. */
  const money = [
    (page: Page) => page.getByRole("cell", { name: "90", exact: true }),
    (page: Page) => page.getByTestId("revenue"),
    (page: Page) => page.getByTestId("expiries"),
  ];
  const reports = ["get_token_revenue", "get_token_usage_by", "list_token_expiries"];
  const byReplica = (names: string[]) => names.map((name) => `replica GET ${name}`);
  const ofReplica = (asked: string[]) => asked.filter((it) => it.startsWith("replica"));
  const alerts = (page: Page) => page.getByRole("alert").filter({ hasText: "The server does not answer" });

  test("reports and sweeps are asked of the replica alone; what is acted on, and a user's own page, of the primary", async () => {
    const { page, go } = await openNoting(served.url);
    const ofMoney = await go("/admin/money", ...money);
    expect(ofReplica(ofMoney)).toEqual(byReplica(reports));
    for (const name of reports) expect(ofMoney).not.toContain(`primary POST ${name}`);
    expect(await page.getByText("Counted until").count()).toBe(1);

    const ofBooks = await go("/admin/books", sweepsAreOver, comparisonIsOver);
    expect(ofReplica(ofBooks)).toEqual(byReplica(["find_token_discrepancies", "verify_token_ledger"]));
    expect(ofBooks).not.toContain("primary POST verify_token_ledger");

    for (const [path, name, isThere] of acted) {
      const asked = await go(path, isThere);
      expect([path, ofReplica(asked)]).toEqual([path, []]);
      expect(asked).toContain(`primary ${name}`);
    }
  });

  test("a replica that is down: its pages say so and come when it is back; the others are as ever", async () => {
    const { page, go } = await openNoting(served.url);
    await line.cut();
    try {
      await go("/admin/", (it) => it.getByTestId("users"));
      const asked = await go("/admin/books", (it) => alerts(it).nth(1));
      expect(asked).not.toContain("primary POST verify_token_ledger");
      await page.getByText("This page asks a read replica").waitFor();
    } finally {
      await line.mend();
    }
    for (const left of [1, 0]) {
      await page.getByRole("button", { name: "Try again" }).first().click();
      await expect.poll(() => alerts(page).count()).toBe(left);
    }
    await sweepsAreOver(page).waitFor();
    await comparisonIsOver(page).waitFor();
  });

  test("what a replica cannot answer before something is written is asked of the primary", async () => {
    const { page, go } = await openNoting(served.url);
    await page.route(`${line.url}/**`, (route) =>
      route.fulfill({
        status: 405,
        json: { code: "25006", message: "read_only", details: null, hint: null },
      }),
    );
    const asked = await go("/admin/money", ...money);
    for (const name of reports) {
      expect(asked).toContain(`replica GET ${name}`);
      expect(asked).toContain(`primary POST ${name}`);
    }
  });

  test("(known-bad) a page that asks the other one is found", async () => {
    await withFault(
      trial,
      faults,
      async (at) => {
        const { go, asked } = await openNoting(at);
        expect(ofReplica(await go("/admin/money", money[0]!, money[1]!))).not.toContain(
          "replica GET get_token_revenue",
        );
        for (const [path, name] of acted.slice(0, 2)) {
          await go(path);
          await expect.poll(asked).toContain(`replica ${name}`);
        }
      },
      line.url,
    );
  });
});

type Go = (path: string, ...areThere: ((page: Page) => Locator)[]) => Promise<string[]>;

/** Pages that are no report, what each asks, and what is there then. */
const acted: [path: string, name: string, isThere: (page: Page) => Locator][] = [
  ["/admin/", "POST list_token_users", (page) => page.getByTestId("users")],
  ["/admin/payments", "GET payments", (page) => page.getByText("Nothing waits")],
  ["/", "POST get_user_token_balance", (page) => page.getByTestId("balance")],
];
