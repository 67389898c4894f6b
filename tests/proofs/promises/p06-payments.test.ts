// @module-tag proof
import { breaches } from "../../support/books.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { ordersOf } from "../../support/orders.ts";
import { diceFor } from "../../support/dice.ts";
import { applyMutant } from "../../support/mutants.ts";
import { giveFreePlanAtRegistration } from "../../support/plans.ts";
import { createUser } from "../../support/roles.ts";
import { storm } from "../../support/storm.ts";
import { keep, type Tried } from "./promise.ts";

const variants = ["settle-by-the-last-event", "payments-known-by-their-events"] as const;

keep({
  id: "P6",
  promise: "A payment is credited once, and what is told of it ends in one state, in whatever order it comes",
  trial:
    "All orders of seven events about a payment (completed, invoice paid, two running totals of partial refunds, full refund, dispute, dispute won), each order for a user of its own; and each of the seven delivered many times by 40 connections at once",
  run: (scale) => (scale === "long" ? tryIt(null, Infinity, 1_000) : tryIt(null, 300, 60)),
  control: {
    variant: "acts on the event that came last; knows a payment by its event only",
    // both have to be seen through
    run: async () => {
      const tried: Tried[] = [];
      for (const variant of variants) tried.push(await tryIt(variant, 60, 5));
      return {
        times: tried.reduce((sum, { times }) => sum + times, 0),
        unit: "orders",
        mix: {},
        violations: Math.min(...tried.map(({ violations }) => violations)),
        examples: tried.map(({ examples }) => examples![0] ?? "not seen"),
      };
    },
  },
});

/** The events by number, as `test_event` has them. */
const events = [1, 2, 3, 4, 5, 6, 7];
const [INVOICE, FULL_REFUND] = [2, 5];

/** What each series must come to, whatever its order: in words of `test_state`. */
const series: { events: number[]; ends: string }[] = [
  {
    events,
    ends: "refunded refunded=3900 disputed=0 clawed=2000000 | free limit=10000 balance=10000 owed=0 | grants=2",
  },
  {
    events: events.filter((event) => event !== FULL_REFUND),
    ends: "approved refunded=1950 disputed=0 clawed=1000000 | professional limit=1010000 balance=1010000 owed=0 | grants=2",
  },
];

async function tryIt(mutant: string | null, mostOrders: number, deliveries: number): Promise<Tried> {
  const db = await createDatabase();
  const mix: Record<string, number> = {};
  const wrong: string[] = [];
  const states = new Set<string>();
  let times = 0;
  try {
    await giveFreePlanAtRegistration(db);
    await addEvents(db);
    if (mutant !== null) await applyMutant(db, mutant);
    for (const { events: told, ends } of series) {
      const orders = some(ordersOf(told), mostOrders);
      times += orders.length;
      mix[`orders of ${told.length} events`] = orders.length;
      for (const [state, so] of await playOrders(db, orders)) {
        states.add(state);
        if (state !== ends) wrong.push(`${so} orders of ${told.length} events end in: ${state}`);
      }

      const user = await createUser(db);
      const { mix: answers } = await storm(db, {
        connections: 40,
        attempts: deliveries * told.length,
        async run(client, attempt) {
          const { rows } = await client.query("select public.test_event($1, $2) as is_new", [
            user,
            diceFor(attempt).any(told),
          ]);
          return rows[0].is_new ? "new events" : "delivered again";
        },
      });
      for (const [answer, so] of Object.entries(answers)) mix[answer] = (mix[answer] ?? 0) + so;
      times += deliveries * told.length;
      // whatever order that was; and each of them at least once
      for (const event of told) await db.admin.query("select public.test_event($1, $2)", [user, event]);
      const { rows } = await db.admin.query("select public.test_state($1) as state", [user]);
      states.add(rows[0].state);
      if (rows[0].state !== ends) wrong.push(`the storm of ${told.length} events ends in: ${rows[0].state}`);
    }
    if (mutant === null) {
      if ((mix["new events"] ?? 0) > series.reduce((sum, { events: told }) => sum + told.length, 0))
        wrong.push("an event was new twice");
      wrong.push(...(await breaches(db)));
    }
    mix["distinct final states of two series"] = states.size;
    return {
      times,
      unit: "orders and deliveries",
      mix,
      violations: wrong.length,
      examples: wrong.slice(0, 3),
    };
  } finally {
    await db.drop();
  }
}

/** Functions of the test that tell the books of an event, and say how a user's payment stands. */
async function addEvents(db: Database): Promise<void> {
  await db.admin.query(`
    create function public.test_event(p_user uuid, p_event integer) returns boolean language sql as $$
      select not (public.record_token_payment_event('stripe', format('%s.%s', p_user, p_event), 'x', 'order_' || p_user,
        case p_event
          when 1 then jsonb_build_object('kind', 'paid', 'user_id', p_user, 'plan_type', 'professional', 'amount_cents', 3900, 'currency', 'usd')
          when ${INVOICE} then jsonb_build_object('kind', 'paid', 'user_id', p_user, 'plan_type', 'professional', 'amount_cents', 3900, 'currency', 'usd')
          when 3 then '{"kind": "refunded", "refunded_cents": 1000}'
          when 4 then '{"kind": "refunded", "refunded_cents": 1950}'
          when ${FULL_REFUND} then '{"kind": "refunded", "refunded_cents": 3900}'
          when 6 then '{"kind": "dispute", "dispute_id": "dp_1", "status": "open"}'
          when 7 then '{"kind": "dispute", "dispute_id": "dp_1", "status": "won"}'
        end::jsonb || jsonb_build_object('occurred_at', format('2026-11-01T00:00:0%sZ', p_event))) ->> 'replayed')::boolean
    $$;
    create function public.test_state(p_user uuid) returns text language sql as $$
      select format('%s refunded=%s disputed=%s clawed=%s | %s limit=%s balance=%s owed=%s | grants=%s',
               p.status, p.refunded_cents, p.disputed_cents, p.tokens_clawed_back, s.plan_type, s.tokens_limit, a.tokens_remaining, a.tokens_owed,
               (select count(*) from public.token_balances b where b.user_id = p_user))
        from public.token_payments p join public.token_subscriptions s on s.user_id = p.user_id join public.token_accounts a on a.user_id = p.user_id
       where p.user_id = p_user
    $$;
    create function public.test_order(p_order integer[]) returns text language plpgsql as $$
    declare
      v_user uuid := gen_random_uuid();
      v_event integer;
    begin
      insert into auth.users (id, email) values (v_user, v_user || '@example.com');
      foreach v_event in array p_order loop
        perform public.test_event(v_user, v_event);
      end loop;
      return public.test_state(v_user);
    end
    $$;
    grant execute on function public.test_event(uuid, integer) to service_role`);
}

/** Plays each order for a user of its own; how many ended in which state. */
async function playOrders(db: Database, orders: number[][]): Promise<Map<string, number>> {
  const states = new Map<string, number>();
  let next = 0;
  await Promise.all(
    Array.from({ length: 4 }, async () => {
      for (let i = next++; i < orders.length; i = next++) {
        const { rows } = await db.admin.query("select public.test_order($1) as state", [orders[i]]);
        states.set(rows[0].state, (states.get(rows[0].state) ?? 0) + 1);
      }
    }),
  );
  return states;
}

/** That many of them by chance; all where there are no more. */
function some<T>(items: T[], most: number): T[] {
  const left = [...items];
  const dice = diceFor(0);
  while (left.length > most) left.splice(dice.below(left.length), 1);
  return left;
}
