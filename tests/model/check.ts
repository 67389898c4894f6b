/** Runs random sequences on the books and on the model, side by side. */
import fc from "fast-check";
import type pg from "pg";
import { createDatabase, type Database } from "../support/database.ts";
import { createUser } from "../support/roles.ts";
import { catalogue } from "./plans.ts";
import type { BurnOrder } from "../support/burn-order.ts";
import { anyCommand, type Mix, Run } from "./commands.ts";

const LANES = 3;

/**
 * Books whose time a test can step: everything of a user moves that far into the past. They have the
 * model's catalogue of plans, and give nothing at registration.
 */
export async function booksWithAClock(order: BurnOrder = "fifo"): Promise<Database> {
  const books = await createDatabase();
  await books.admin.query(`
    create function public.test_step(p_user_id uuid, p_seconds integer) returns void language sql as $$
      select tokenbook.move_past(p_user_id, p_seconds * interval '1 second')
    $$;
    -- when the present or the next period begins, whether what is due has been recorded or not
    create function public.test_period(p_user_id uuid, p_period text) returns timestamptz language sql as $$
      select case p_period when 'this' then s.period_start when 'next' then s.expires_at end
        from public.token_subscriptions s
       where s.user_id = p_user_id
    $$;
    create function public.test_event(p_user_id uuid, p_nth integer, p_payment integer, p_said jsonb, p_period text)
    returns jsonb language sql as $$
      select public.record_token_payment_event(
        'stripe', format('%s.%s', p_user_id, p_nth), 'x', format('%s.payment.%s', p_user_id, p_payment),
        -- what comes again says what it said
        coalesce((
          select e.facts from tokenbook.provider_events e
           where e.provider_payment_id = format('%s.payment.%s', p_user_id, p_payment) and e.event_id = format('%s.%s', p_user_id, p_nth)),
          p_said || case when p_said ->> 'kind' = 'paid'
                         then jsonb_build_object('user_id', p_user_id, 'period_start', public.test_period(p_user_id, p_period))
                         else '{}' end))
    $$`);
  await spendInOrder(books, order);
  await books.admin.query("update public.token_plans set is_offered = false, is_default = false");
  for (const [name, plan] of Object.entries(catalogue)) {
    await books.admin.query(
      `insert into public.token_plans
         (plan_type, name, tokens, price_cents, currency, billing_cycle, grant_type, grant_lifetime_days, balance_cap,
          rollover_percent, rollover_tokens, rollover_lifetime_days, rank)
       values ($1, $1, $2, $3, 'usd', $4, 'plan', $5, $6, $7, $8, $9, $10)
       on conflict (plan_type) do update
          set tokens = excluded.tokens, price_cents = excluded.price_cents, currency = excluded.currency,
              billing_cycle = excluded.billing_cycle, grant_type = excluded.grant_type,
              grant_lifetime_days = excluded.grant_lifetime_days, balance_cap = excluded.balance_cap,
              rollover_percent = excluded.rollover_percent, rollover_tokens = excluded.rollover_tokens,
              rollover_lifetime_days = excluded.rollover_lifetime_days, rank = excluded.rank, is_offered = true`,
      [
        name,
        plan.tokens,
        plan.price,
        plan.days === null ? "none" : `${plan.days}day`,
        plan.lifetime,
        plan.cap,
        plan.rollover?.percent,
        plan.rollover?.tokens,
        plan.rollover?.days,
        plan.rank,
      ],
    );
  }
  return books;
}

/** Chooses the order of spending, for the books and for the model beside them. */
export async function spendInOrder(books: Database, order: BurnOrder): Promise<void> {
  booksInOrder.set(books, order);
  await books.admin.query("select public.set_token_burn_order($1)", [order]);
}

/** Which order of spending each of the books has, for the model beside it. */
const booksInOrder = new WeakMap<Database, BurnOrder>();

/**
 * Runs sequences in lanes side by side.
 *
 * @param shrinks whether a sequence that shows a difference is made as short as it can be; takes its time
 * @returns how often each outcome of each command came
 * @throws the first difference, shrunk to the shortest sequence that shows it; the cause says what differs
 */
export async function check(
  books: Database,
  sequences: number,
  seedOf: number,
  shrinks = true,
): Promise<Mix> {
  const mix: Mix = {};
  await Promise.all(
    Array.from({ length: LANES }, async (_, lane) => {
      const client: pg.PoolClient = await books.admin.connect();
      try {
        await fc.assert(
          fc.asyncProperty(
            fc.array(anyCommand, { minLength: 1, maxLength: 50, size: "max" }),
            async (commands) => {
              const user = await createUser(books);
              const run = new Run(client, user, mix, booksInOrder.get(books));
              for (const one of commands) await run.execute(one);
              await run.look();
              const { rows } = await client.query("select * from public.verify_token_ledger($1)", [user]);
              if (rows.length > 0) throw new Error(`the ledger is broken: ${JSON.stringify(rows)}`);
            },
          ),
          { numRuns: Math.ceil(sequences / LANES), seed: seedOf + lane, endOnFailure: !shrinks },
        );
      } finally {
        client.release();
      }
    }),
  );
  return mix;
}
