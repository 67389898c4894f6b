import { afterAll, beforeAll, expect, test } from "vitest";
import { readCatalog } from "../../../packages/tokenbook/src/catalog/catalog.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { asService, createUser, rpc } from "../../support/roles.ts";
import { expectCleanBooks } from "../../support/books.ts";
import { migrate } from "../../support/migrate.ts";
import { standing } from "../../support/plans.ts";
import { legacyProject, loadBeforeCleanup } from "./legacy/project.ts";

let db: Database;
let fresh: string;
let before: unknown;
const project = legacyProject();
beforeAll(async () => {
  db = await createDatabase({ template: "platform" });
  await loadBeforeCleanup(db, project);
  fresh = await createUser(db);
  // a subscription table of the project's own, with a limit beside the balance
  await db.admin.query(`
    create table public.user_subscriptions (
      id bigint generated always as identity primary key,
      user_id uuid unique not null references auth.users (id) on delete cascade,
      plan_type text default 'free', tokens_limit integer default 10000, articles_limit integer default 2,
      features text, is_active boolean default true, expires_at timestamptz, created_at timestamptz default now());
    insert into public.user_subscriptions (user_id, plan_type, tokens_limit)
      values ('${project.users[0]}', 'professional', 2000000), ('${project.users[1]}', 'platinum', 1);
    insert into public.user_subscriptions (user_id, plan_type, is_active, expires_at, created_at)
      values ('${project.users[2]}', 'professional', true, now() - interval '40 days', now() - interval '70 days'),
             ('${project.users[3]}', 'professional', false, now() + interval '9 days', now() - interval '20 days'),
             ('${project.users[4]}', 'professional', true, now() + interval '9 days', now() - interval '20 days');
    -- and its payments
    create table public.payments (id bigint primary key, user_id uuid references auth.users (id), amount numeric);
    create view public.revenue as select sum(amount) as total from public.payments;
    insert into public.payments values (7, '${project.users[0]}', 39);
    grant select on public.user_subscriptions, public.payments to authenticated;`);
  before = await own();
  await migrate(db);
});
afterAll(() => db.drop());

/** The tables of the project's own, and what is in them. */
async function own() {
  const catalog = await readCatalog(db.url());
  const facts = [...catalog].filter(([fact]) => /public\.(user_subscriptions|payments|revenue)\b/.test(fact));
  const { rows } = await db.admin.query(
    `select (select jsonb_agg(s order by s.id) from public.user_subscriptions s) as subscriptions,
            (select jsonb_agg(p) from public.payments p) as payments, (select total from public.revenue) as revenue`,
  );
  return { facts, rows };
}

test("users with tokens keep them and have a plan, the balance their plan limit", async () => {
  const { rows } = await db.admin.query(
    `select count(*)::int as users, count(s.user_id)::int as with_plan, count(*) filter (where s.tokens_limit < a.tokens_remaining)::int as above_limit
       from auth.users u
       left join public.token_subscriptions s on s.user_id = u.id
       left join public.token_accounts a on a.user_id = u.id`,
  );

  expect(rows).toEqual([{ users: 23, with_plan: 23, above_limit: 0 }]);
  const { rows: given } = await db.admin.query(
    "select count(*)::int as grants from public.token_transactions where entry_type = 'grant' and user_id = any ($1)",
    [project.users],
  );
  expect(given).toEqual([{ grants: 0 }]);
  await expectCleanBooks(db);
});

test("a user who never had a grant gets the free plan's tokens by the backfill", async () => {
  expect(await standing(db, fresh)).toEqual({ plan: "free", limit: 10_000, balance: 10_000, owed: 0 });
});

test("a subscription of the project to a plan of the catalogue is copied", async () => {
  expect(await standing(db, project.users[0]!)).toMatchObject({ plan: "professional" });
  expect(await standing(db, project.users[1]!)).toMatchObject({ plan: "free" });
});

test("tables of the project under the older names stay where they are, untouched, and no view takes their place", async () => {
  expect(await own()).toEqual(before);
  const { rows } = await db.admin.query(
    "select relname, relkind from pg_class where relnamespace = 'public'::regnamespace and relname in ('user_subscriptions', 'payments', 'user_storage') order by 1",
  );
  expect(rows).toEqual([
    { relname: "payments", relkind: "r" },
    { relname: "user_storage", relkind: "v" },
    { relname: "user_subscriptions", relkind: "r" },
  ]);
});

test("a subscription that has ended or will is due when it does, and the next touch records it", async () => {
  expect((await db.admin.query("select * from public.verify_token_ledger()")).rows).toEqual([]);
  await asService(db, (client) => rpc(client, "expire_old_token_grants"));
  const { rows } = await db.admin.query(
    `select s.ended_at is not null as has_ended, a.next_due_at > clock_timestamp() as is_due_later,
            exists (select from public.token_alerts t where t.user_id = u.id and t.kind = 'subscription_ended') as is_told
       from unnest($1::uuid[]) with ordinality as u (id, nth)
       join tokenbook.subscriptions s on s.user_id = u.id
       join public.token_accounts a on a.user_id = u.id
      order by u.nth`,
    [project.users.slice(2, 5)],
  );
  const over = { has_ended: true, is_told: true };
  expect(rows).toMatchObject([over, over, { has_ended: false, is_due_later: true, is_told: false }]);
});
