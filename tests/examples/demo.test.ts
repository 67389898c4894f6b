/* The demo data is right, and the books that are wrong on purpose are wrong in what is said of them. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { brokenBooks } from "../../scripts/broken-books.ts";
import { projectRoot } from "../../scripts/project.ts";
import { readCatalogue } from "../../packages/tokenbook/src/prices/catalogue.ts";
import { createDatabase, type Database } from "../support/database.ts";

/** The users that verify and reconcile name, and how many rows each has. */
const findings = async (db: Database) =>
  (
    await db.admin.query(
      `select u.email,
              array(select v.invariant from public.verify_token_ledger(u.id) v order by 1) as verify,
              (select d.scenarios from (
                 select array(select f ->> 'scenario' from jsonb_array_elements(r -> 'findings') f) as scenarios
                   from public.reconcile_user_token_balance(u.id) r) d) as reconcile
         from auth.users u order by u.email`,
    )
  ).rows as { email: string; verify: string[]; reconcile: string[] }[];

test("the demo data is the same on every day: the guides and pictures have its figures", async () => {
  const asksTheCalendar = /\b(extract|date_part|date_trunc|to_char)\s*\(/i;
  expect("case when extract(isodow from now()) > 5 then 1 end").toMatch(asksTheCalendar);
  const seed = await readFile(join(projectRoot, "supabase", "seed.sql"), "utf8");
  expect(seed).not.toMatch(asksTheCalendar);
});

test("the demo data is right, and the broken books are wrong where the list says so, and nowhere else", async () => {
  const db = await createDatabase();
  try {
    await db.admin.query("update public.token_plans set is_default = (plan_type = 'free')");
    await db.admin.query(await readFile(join(projectRoot, "supabase", "seed.sql"), "utf8"));
    const right = await findings(db);
    expect(right).toHaveLength(10);
    for (const { verify, reconcile } of right) expect([verify, reconcile]).toEqual([[], []]);

    const broken = await readFile(join(projectRoot, "scripts", "sql", "broken-books.sql"), "utf8");
    await db.admin.query(broken);
    await db.admin.query(broken);
    const wrong = (await findings(db)).filter(
      ({ verify, reconcile }) => verify.length + reconcile.length > 0,
    );
    const said = brokenBooks.toSorted((a, b) => (a.email < b.email ? -1 : 1));
    expect(wrong.map(({ email, verify }) => [email, verify])).toEqual(
      said.map(({ email, verify = [] }) => [email, verify]),
    );
    for (const [nth, { scenario }] of said.entries()) expect(wrong[nth]!.reconcile).toContain(scenario);
  } finally {
    await db.drop();
  }
});

test("the demo data tells a whole story: who has what is sold has paid for it, something is parked, something runs out soon", async () => {
  const db = await createDatabase();
  const rows = async (sql: string) => (await db.admin.query(sql)).rows;
  /** A plan that names how it is paid and no payment for it; tokens bought and no payment that bought them. */
  const unpaid = () =>
    rows(
      `select u.email, 'plan ' || s.plan_type as what
         from public.token_subscriptions s join auth.users u on u.id = s.user_id
        where (s.payment_method is not null or exists (select from public.token_plans l where l.plan_type = s.plan_type and l.price_cents > 0))
          and not exists (
            select from public.token_payments p
             where p.user_id = s.user_id and p.status = 'approved' and p.to_plan = s.plan_type and p.provider = s.payment_method)
       union all
       select u.email, 'grant ' || b.grant_type
         from public.token_balances b join auth.users u on u.id = b.user_id
        where b.grant_type = 'purchase'
          and not exists (
            select from public.token_payments p
             where p.user_id = b.user_id and p.status = 'approved' and p.tokens = b.tokens_granted)
        order by 1, 2`,
    );
  try {
    await db.admin.query("update public.token_plans set is_default = (plan_type = 'free')");
    await db.admin.query(await readFile(join(projectRoot, "supabase", "seed.sql"), "utf8"));
    expect(await unpaid()).toEqual([]);
    expect(
      await rows("select amount_cents::int, parked_reason from public.list_parked_token_payments()"),
    ).toEqual([{ amount_cents: 900, parked_reason: "user_unknown" }]);
    expect(
      await rows(
        "select tokens::int, users::int from public.list_token_expiries(p_to => now() + interval '28 days') order by day",
      ),
    ).toEqual([
      { tokens: 20_000, users: 1 },
      { tokens: 100_000, users: 1 },
      { tokens: 100_000, users: 1 },
    ]);

    // as it was: a plan that says "by card" of somebody who has paid nothing
    await db.admin.query(
      "select public.change_token_plan((select id from auth.users where email = 'heidi@example.com'), '28day', 'card', 'demo')",
    );
    expect(await unpaid()).toEqual([{ email: "heidi@example.com", what: "plan 28day" }]);
  } finally {
    await db.drop();
  }
});

test("the demo data has the snapshot's model prices, and its uses have a cost", async () => {
  const db = await createDatabase();
  try {
    await db.admin.query(await readFile(join(projectRoot, "supabase", "seed.sql"), "utf8"));
    const { rows } = await db.admin.query(
      `select p.model, trim_scale(p.input_cents_per_million)::text as input_cents_per_million,
              trim_scale(p.cached_input_cents_per_million)::text as cached_input_cents_per_million,
              trim_scale(p.output_cents_per_million)::text as output_cents_per_million
         from public.token_model_prices p order by 1`,
    );
    expect(rows.length).toBe(3);
    const { wanted } = readCatalogue(undefined, ["openai", "anthropic", "google"]);
    for (const { model, ...price } of rows) expect(wanted).toContainEqual({ model, prices: price });
    const { rows: costs } = await db.admin.query(
      "select cost_estimate::float as cents from public.token_usage where user_id = 'f4a00000-0000-4000-8000-000000000007' order by 1",
    );
    expect(costs).toEqual([{ cents: 2.225 }, { cents: 7.2 }]);
  } finally {
    await db.drop();
  }
});
