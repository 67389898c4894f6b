// @module-tag proof
import type pg from "pg";
import { withGrants, withHolds, withMissedDays, withPaidPeriods } from "../../support/accumulated.ts";
import { breaches, grant } from "../../support/books.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { writeLongLedger } from "../../support/long-ledger.ts";
import { applyMutant } from "../../support/mutants.ts";
import { pagesTouched } from "../../support/pages.ts";
import { createUser } from "../../support/roles.ts";
import { letTimePass } from "../../support/time.ts";
import { connectAsServer } from "../../support/storm.ts";
import { keep, type Scale, type Tried } from "./promise.ts";

keep({
  id: "P27",
  promise: "No call does work that grows with what has accumulated: what is due is booked in portions",
  trial:
    "Of one user, or of others, 10, 1,000 and so on of everything that accumulates: grants and holds that have run out, days of a schedule that were missed, open ones, ledger entries, keys, refunds of one charge, payments, parked rows, undelivered webhooks, top-up requests, members, accounts to sweep. Each call that meets them is made; the pages that it touches with the most of them are compared with those with fewer: no more than twice as many. An account that is behind is then called until it is up to date, in as many calls as there are portions, and its books are verified",
  run: (scale) => tryIt(sizesOf(scale), null),
  control: {
    variant: "what is due is booked as a whole",
    run: () =>
      tryIt(
        [100, 5_000],
        "expiries-in-one-go",
        (heap, call) => heap === "grants that have run out" && call === "grant",
      ),
  },
});

/** How many of each: the last two are compared, and both are more than a portion. */
const sizesOf = (scale: Scale) => (scale === "long" ? [10, 1_000, 10_000, 100_000] : [10, 1_500, 6_000]);

/** What has accumulated, and which calls meet it. */
interface Heap {
  name: string;
  /** Makes that many; returns the user, and what else the calls need. */
  make: (db: Database, count: number) => Promise<Record<string, string>>;
  /** The calls, with `:name` for what was made. */
  calls: Record<string, string>;
  /** Whether the account is behind, and answers busy until it is not. */
  isDue?: boolean;
  /** How many of them, where so many as of the others take too long to make. */
  sizes?: number[];
  /** A call that may do work up to a bound of so many: compared only where both numbers are at least that. */
  upTo?: Record<string, number>;
}

const spending = {
  deduct: "select public.deduct_tokens_with_fifo(:user, 1) as answer",
  track: "select public.track_token_usage(:user, 'chat_conversation', p_tokens_used => 1) as answer",
  hold: "select public.reserve_tokens(:user, 1) as answer",
  grant: "select public.grant_tokens(:user, 1, 'purchase') as answer",
  correct: "select public.adjust_tokens(:user, -1, 'a correction') as answer",
  balance: "select public.get_user_token_balance(:user) as answer",
  estimate: "select public.estimate_tokens(:user, 'chat_conversation', p_tokens_used => 1) as answer",
  "plan change": "select public.change_token_plan(:user, 'annual') as answer",
  batch: `select public.deduct_tokens_batch(jsonb_build_array(jsonb_build_object('user_id', :user, 'tokens', 1))) as answer`,
  sweep: "select to_jsonb(public.expire_old_token_grants()) as answer",
};

/** What a provider says of a subscription's next period, and of its end. */
const ofPeriods = {
  renewal: `select public.record_token_payment_event('stripe', 'evt-' || gen_random_uuid(), 'paid', 'pi-' || gen_random_uuid(),
      jsonb_build_object('kind', 'paid', 'occurred_at', now(), 'user_id', :user::text, 'customer_id', 'cus.' || :user::text,
        'plan_type', 'starter', 'amount_cents', 900, 'currency', 'usd', 'subscription_id', 'sub.' || :user::text, 'period_start', now())) as answer`,
  "renewal that may be a fee": `select public.record_token_payment_event('stripe', 'evt-' || gen_random_uuid(), 'paid', 'pi-' || gen_random_uuid(),
      jsonb_build_object('kind', 'paid', 'occurred_at', now(), 'user_id', :user::text, 'customer_id', 'cus.' || :user::text, 'may_be_fee', true,
        'plan_type', 'starter', 'amount_cents', 900, 'currency', 'usd', 'subscription_id', 'sub.' || :user::text,
        'period_start', now() + interval '40 days')) as answer`,
  "past due": `select public.record_token_subscription_event('stripe', 'evt-' || gen_random_uuid(), 'late', 'sub.' || :user::text,
      jsonb_build_object('kind', 'subscription', 'occurred_at', now(), 'status', 'past_due', 'user_id', :user::text,
        'plan_type', 'starter')) as answer`,
};

const heaps: Heap[] = [
  {
    name: "grants that have run out",
    make: async (db, count) => ({ user: await withGrants(db, count, { due: true }) }),
    calls: spending,
    isDue: true,
    upTo: { balance: 10_000, estimate: 10_000 }, // counted as if it were booked, of ten portions
  },
  {
    name: "holds that have run out",
    make: async (db, count) => ({ user: await withHolds(db, count, { due: true }) }),
    calls: spending,
    isDue: true,
    upTo: { balance: 10_000, estimate: 10_000 }, // counted as if it were booked, of ten portions
  },
  {
    name: "days of a schedule that were missed, for ever",
    make: async (db, count) => ({ user: await withMissedDays(db, count, "{}") }),
    calls: {
      deduct: spending.deduct,
      balance: spending.balance,
      estimate: spending.estimate,
      sweep: spending.sweep,
    },
    isDue: true,
  },
  {
    name: "days of a schedule that were missed, which fill up",
    make: async (db, count) => ({ user: await withMissedDays(db, count, '{"refill_to": 5}') }),
    calls: { deduct: spending.deduct, balance: spending.balance },
    isDue: true,
  },
  {
    name: "days of a schedule that were missed, which run out",
    make: async (db, count) => ({ user: await withMissedDays(db, count, '{"grant_lifetime_days": 365}') }),
    calls: { deduct: spending.deduct, balance: spending.balance },
    isDue: true,
  },
  {
    name: "open grants beside a plan that fills up",
    make: async (db, count) => {
      const user = await withGrants(db, count, { due: false });
      await withMissedDays(db, 1, '{"refill_to": 5}', user);
      return { user };
    },
    calls: { deduct: spending.deduct, balance: spending.balance },
    isDue: true,
  },
  {
    name: "open grants",
    make: async (db, count) => ({ user: await withGrants(db, count, { due: false }) }),
    calls: {
      ...spending,
      "deduct all of them": `select public.deduct_tokens_with_fifo(:user,
          (select tokens_remaining from public.token_accounts where user_id = :user)) as answer`,
    },
    upTo: { "deduct all of them": 10_000 },
  },
  {
    name: "open holds of a member",
    make: async (db, count) => {
      const member = await createUser(db);
      return { user: await withHolds(db, count, { due: false, member }), member };
    },
    calls: {
      hold: spending.hold,
      "member's hold": "select public.reserve_tokens(:member, 1) as answer",
      deduct: spending.deduct,
      balance: spending.balance,
    },
  },
  {
    name: "ledger entries",
    make: async (db, count) => {
      const user = await createUser(db);
      await writeLongLedger(db, user, count);
      return { user };
    },
    calls: {
      ...spending,
      "deduct with a key":
        "select public.deduct_tokens_with_fifo(:user, 1, p_idempotency_key => 'a-key') as answer",
      history: "select public.get_token_history(:user) as answer",
      refund: "select public.refund_tokens(:user, 5) as answer",
      explain: "select public.explain_token_charge(:user, p_transaction_id => 5) as answer",
    },
  },
  {
    name: "refunds of one charge",
    make: async (db, count) => {
      const user = await createUser(db);
      await grant(db, user, count + 100);
      await db.admin.query("select public.deduct_tokens_with_fifo($1, $2)", [user, count + 10]);
      await db.admin.query(
        `with entries as (
           insert into public.token_transactions
             (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason, actor_role, original_id)
           select $1, 2 + n, 'refund', 'deduction', 1, 90 + n, (select array_agg(id) from public.token_balances where user_id = $1),
                  array[1], 'refund', 'service', 2
             from generate_series(1, $2::bigint) n),
         grants as (update public.token_balances set tokens_remaining = tokens_remaining + $2 where user_id = $1)
         update public.token_accounts
            set tokens_remaining = tokens_remaining + $2, tokens_used = tokens_used - $2, last_transaction_id = 2 + $2,
                spent_day = spent_day - $2, spent_week = spent_week - $2, spent_month = spent_month - $2
          where user_id = $1`,
        [user, count],
      );
      return { user };
    },
    calls: {
      deduct: spending.deduct,
      history: "select public.get_token_history(:user) as answer",
    },
  },
  {
    name: "payments",
    make: async (db, count) => {
      const user = await createUser(db);
      await grant(db, user, 1_000);
      await db.admin.query(
        `insert into public.token_payments (user_id, status, to_plan, amount_cents, currency, terms, decided_at)
         select $1, case when n > 5 then 'rejected' else 'pending' end, 'annual', 900, 'usd', '{}', case when n > 5 then now() end
           from generate_series(1, $2::integer) n`,
        [user, count],
      );
      return { user };
    },
    calls: {
      deduct: spending.deduct,
      "ask for a payment": "select public.create_token_payment(:user, 'annual') as answer",
    },
  },
  {
    name: "paid periods that are over",
    make: async (db, count) => ({ user: await withPaidPeriods(db, count, { over: true }) }),
    calls: { ...ofPeriods, deduct: spending.deduct, balance: spending.balance, sweep: spending.sweep },
    sizes: [10, 100, 400], // each is paid by an event of its own
  },
  {
    name: "paid periods beside each other",
    make: async (db, count) => ({ user: await withPaidPeriods(db, count, { over: false }) }),
    calls: { ...ofPeriods, deduct: spending.deduct, balance: spending.balance },
    sizes: [10, 100, 400], // each is paid by an event of its own
  },
  {
    name: "paid periods that lapse",
    make: async (db, count) => {
      const user = await withPaidPeriods(db, count, { over: false });
      await letTimePass(db, user, 40);
      return { user };
    },
    calls: { deduct: spending.deduct, balance: spending.balance, sweep: spending.sweep },
    sizes: [10, 100, 400], // each is paid by an event of its own
  },
  {
    name: "parked payments",
    make: async (db, count) => {
      await db.admin.query(
        `insert into tokenbook.provider_payments (provider, provider_payment_id, is_paid, parked_reason)
         select 'stripe', 'pi-' || gen_random_uuid(), true, 'user_unknown' from generate_series(1, $1::integer) n`,
        [count],
      );
      return { user: await createUser(db) };
    },
    calls: {
      "a page of them": "select to_jsonb(count(*)) as answer from public.list_parked_token_payments()",
      "another event": `select public.record_token_payment_event('stripe', 'evt-' || gen_random_uuid(), 'paid',
          'pi-' || gen_random_uuid(), jsonb_build_object('kind', 'paid', 'occurred_at', now())) as answer`,
    },
  },
  {
    name: "webhooks that nobody has fetched",
    make: async (db, count) => {
      const user = await createUser(db);
      await grant(db, user, 1_000);
      await db.admin.query("select public.set_token_webhook_endpoint('app', 'https://example.com/tokens')");
      await db.admin.query(
        `insert into tokenbook.webhook_deliveries
           (user_id, event_id, endpoint, kind, payload, created_at, queued_at, status, next_attempt_at, settled_at)
         select $1, n, 'app', 'token_alert.dropped', '{}', at, at, status, case when status = 'pending' then now() - interval '1 hour' end,
                case when status <> 'pending' then at end
           from (select n, (array['pending', 'delivered', 'given_up'])[1 + n / 2 % 3] as status,
                        now() - case when n <= $2::integer / 3 then interval '31 days' when n % 2 = 0 then interval '1 hour' else interval '9 days' end as at
                   from generate_series(1, $2::integer) n) o`,
        [user, 60 * count], // more than one call takes of each, also of the fewest: it gives up to 10,000 up
      );
      return { user };
    },
    calls: {
      claim: "select to_jsonb(count(*)) as answer from public.claim_token_webhooks('app')",
      retry: "select to_jsonb(public.retry_token_webhooks('app')) as answer",
      "a page of them": "select public.list_token_webhook_deliveries() as answer",
      "the given up": "select public.list_token_webhook_deliveries('app', 'given_up') as answer",
      deduct: spending.deduct,
    },
  },
  {
    name: "grants to warn of",
    make: async (db, count) => {
      const user = await withGrants(db, count, { due: false });
      await db.admin.query(
        "update public.token_balances set expires_at = now() + interval '10 hours' where user_id = $1",
        [user],
      );
      await db.admin.query(
        `update public.token_accounts set next_due_at = (select min(expires_at) from public.token_balances where user_id = $1)
          where user_id = $1`,
        [user],
      );
      await db.admin.query(
        "select public.set_token_alert_rule('soon', 'expiring_soon', p_hours => 24, p_for_everyone => true)",
      );
      return { user };
    },
    calls: {
      deduct: spending.deduct,
      grant: spending.grant,
      "alert rules": "select to_jsonb(public.arm_token_alerts()) as answer",
    },
  },
  {
    name: "top-up requests",
    make: async (db, count) => {
      const user = await createUser(db);
      await grant(db, user, 1_000);
      await db.admin.query(
        `insert into public.token_top_up_requests (user_id, status, tokens, created_at, settled_at)
         select $1, 'done', 10, now() - n * interval '1 minute', now() - n * interval '1 minute' from generate_series(1, $2::integer) n`,
        [user, count],
      );
      await db.admin.query("select public.set_token_top_up($1, p_below_tokens => 1000, p_tokens => 10)", [
        user,
      ]);
      return { user };
    },
    calls: { deduct: spending.deduct, grant: spending.grant },
  },
  {
    name: "members of a team",
    make: async (db, count) => {
      const [user, member] = [await createUser(db), await createUser(db)];
      await grant(db, user, 1_000);
      await db.admin.query("select public.add_token_team_member($1, $2)", [user, member]);
      await db.admin.query(
        `with members as (
           insert into public.token_team_members (user_id, member_id) select $1, gen_random_uuid() from generate_series(1, $2::integer)
           returning member_id)
         insert into public.token_accounts (user_id, payer_id) select member_id, $1 from members`,
        [user, count],
      );
      return { user, member };
    },
    calls: {
      "member's deduct": "select public.deduct_tokens_with_fifo(:member, 1) as answer",
      "a page of them": "select public.list_token_team_members(:user) as answer",
      leave: "select public.remove_token_team_member(:user, :member) as answer",
    },
  },
  {
    name: "accounts that are due",
    make: async (db, count) => {
      await db.admin.query(
        `with users as (select gen_random_uuid() as id from generate_series(1, $1::integer)),
         grants as (
           insert into public.token_balances (user_id, grant_type, tokens_granted, tokens_remaining, granted_at, expires_at, created_at)
           select u.id, 'purchase', 1, 1, now() - interval '3 hours', now() - interval '1 hour', now() - interval '3 hours' from users u
           returning user_id, id),
         entries as (
           insert into public.token_transactions
             (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason, actor_role, created_at)
           select g.user_id, 1, 'grant', 'token_pack_purchase', 1, 1, array[g.id], array[1], 'purchase grant', 'service', now() - interval '3 hours'
             from grants g)
         insert into public.token_accounts (user_id, tokens_remaining, last_transaction_id, next_due_at)
         select g.user_id, 1, 1, now() - interval '1 hour' from grants g`,
        [count],
      );
      const user = await createUser(db);
      await grant(db, user, 1_000);
      return { user };
    },
    calls: { sweep: spending.sweep, deduct: spending.deduct, balance: spending.balance },
  },
];

async function tryIt(
  sizes: number[],
  mutant: string | null,
  isTried: (heap: string, call: string) => boolean = () => true,
): Promise<Tried> {
  const wrong: string[] = [];
  const mix: Record<string, number> = {};
  const table: Record<string, Record<string, string>> = {};
  let calls = 0;
  for (const heap of heaps) {
    const tried = Object.entries(heap.calls).filter(([call]) => isTried(heap.name, call));
    if (!tried.length) continue;
    const pages: Record<string, number[]> = {};
    const some = heap.sizes ?? sizes;
    for (const size of some) {
      // what is due becomes less with each call: each has its own, unless there is far more than all of them book
      for (const group of heap.isDue && size < 50_000 ? tried.map((one) => [one]) : [tried]) {
        const db = await createDatabase();
        const client = await connectAsServer(db);
        try {
          await db.admin.query(attempts);
          if (mutant !== null) await applyMutant(db, mutant);
          const made = await heap.make(db, size);
          await db.admin.query("set client_min_messages = error; analyze");
          for (const [call, sql] of group) {
            await db.admin.query(vacuum);
            await warmUp(client, heap.calls);
            const statement = withNames(sql, made);
            const began = performance.now();
            const touched = await pagesOf(client, statement);
            const ms = performance.now() - began;
            calls++;
            (pages[call] ??= []).push(touched);
            (table[`${heap.name}: ${call}`] ??= {})[size.toLocaleString("en")] =
              `${ms.toFixed(1)} ms, ${touched.toLocaleString("en")} pages`;
            if (heap.isDue && mutant === null && size <= (call === "deduct" ? 10_000 : 1_000)) {
              wrong.push(...(await catchUp(client, heap.name, call, statement, size, mix)));
            }
          }
          if (mutant === null) {
            wrong.push(...(await breaches(db)).slice(0, 3).map((breach) => `${heap.name}: ${breach}`));
          }
        } finally {
          await client.end();
          await db.drop();
        }
      }
    }
    for (const [call, touched] of Object.entries(pages)) {
      const [most, fewer] = [touched.at(-1)!, touched.at(-2)!];
      if (some.at(-2)! < (heap.upTo?.[call] ?? 0)) continue;
      if (most > 2 * fewer + 1_000) {
        wrong.push(`${heap.name}, ${call}: ${most} pages with ${some.at(-1)}, ${fewer} with ${some.at(-2)}`);
      }
    }
  }
  if (mutant === null) console.table(table);
  return {
    times: calls,
    unit: `calls with up to ${sizes.at(-1)!.toLocaleString("en")}`,
    mix,
    violations: wrong.length,
    examples: wrong.slice(0, 8),
  };
}

/** As autovacuum does, between calls. */
const vacuum = `vacuum (analyze) public.token_accounts, public.token_balances, public.token_transactions, public.token_holds,
  public.token_alerts, tokenbook.webhook_deliveries, public.token_team_members, public.token_top_up_requests, public.token_payments,
  tokenbook.provider_payments, tokenbook.provider_events, tokenbook.subscriptions`;

/** Each call once about somebody who has nothing: plans and catalogue look-ups are not what is measured. */
async function warmUp(client: pg.Client, calls: Record<string, string>): Promise<void> {
  const nobody = "00000000-0000-4000-8000-000000000000";
  for (const sql of Object.values(calls)) {
    await client.query("begin");
    await client.query(withNames(sql, { user: nobody, member: nobody })).catch(() => {});
    await client.query("rollback");
  }
}

const withNames = (sql: string, made: Record<string, string>) =>
  sql.replaceAll(/:(user|member)/g, (_, name: string) => `'${made[name]}'::uuid`);

/** A call that may be refused: EXPLAIN says nothing of what ends with an error. */
const attempts = `
create function public.attempt(p_sql text) returns jsonb language plpgsql as $$
declare v_answer jsonb;
begin
  execute p_sql into v_answer;
  return v_answer;
exception
  when sqlstate 'PT409' or sqlstate 'PT429' then
    return to_jsonb(sqlerrm);
end $$;
grant execute on function public.attempt to service_role`;

/** How many pages of tables and indexes the call touches, however it ends. */
const pagesOf = (client: pg.Client, sql: string) =>
  pagesTouched(client, `select public.attempt($sql$${sql}$sql$)`);

/** Calls until the account is up to date; no more often than there are portions. */
async function catchUp(
  client: pg.Client,
  heap: string,
  call: string,
  statement: string,
  size: number,
  mix: Record<string, number>,
): Promise<string[]> {
  const portions = size / (heap.startsWith("holds") ? 200 : 1_000);
  for (let again = 0; again <= portions + 1; again++) {
    const { answer } = (await client.query(statement)).rows[0];
    const isBusy =
      answer.message === "busy" ||
      answer.results?.[0].error?.code === "busy" ||
      (call === "sweep" && answer > 0);
    const outcome = isBusy ? "busy" : "up to date";
    mix[outcome] = (mix[outcome] ?? 0) + 1;
    if (!isBusy) return [];
  }
  return [`${heap}, ${call}: still busy after as many calls as there are portions`];
}
