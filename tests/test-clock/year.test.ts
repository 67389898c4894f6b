/** A year of a plan in seconds: what comes, and when, is what the plan says by date. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { breaches } from "../support/books.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { about, setPlan } from "../plans/schedules/schedules.ts";
import { advance, testUser } from "./clock.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
  await makePlans(db);
});
afterAll(() => db.drop());

const day = 86_400_000;

async function makePlans(where: Database): Promise<void> {
  await setPlan(where, "annual_monthly", {
    tokens: 1000,
    billing_cycle: "annual",
    issue_every: "month",
    grant_lifetime_days: 40,
    price_cents: 12_000,
  });
  await setPlan(where, "lunar", {
    tokens: 700,
    billing_cycle: "28day",
    grant_lifetime_days: 28,
    price_cents: 900,
  });
}

/** So many calendar months after a moment, in UTC: the last day where the month is too short. */
function monthsAfter(start: Date, months: number): number {
  const first = Date.UTC(start.getUTCFullYear(), start.getUTCMonth() + months, 1);
  const last = new Date(Date.UTC(start.getUTCFullYear(), start.getUTCMonth() + months + 1, 0)).getUTCDate();
  return (
    first +
    (Math.min(start.getUTCDate(), last) - 1) * day +
    (start.getTime() - Date.UTC(start.getUTCFullYear(), start.getUTCMonth(), start.getUTCDate()))
  );
}

interface Came {
  what: string;
  tokens: number;
  /** By the user's own clock: when it was given, or ran out. */
  at: number;
  /** By the user's own clock: when it was booked. */
  booked: number;
}

/** What came of grants, by the clock that was advanced. */
async function whatCame(where: Database, user: string): Promise<Came[]> {
  const { rows } = await where.admin.query<Came>(
    `select t.entry_type as what, t.tokens::int,
            (1000 * extract(epoch from case t.entry_type when 'grant' then b.granted_at else b.expires_at end + u.ahead))::float8 as at,
            (1000 * extract(epoch from t.created_at + u.ahead))::float8 as booked
       from public.token_transactions t
       join public.token_balances b on b.user_id = t.user_id and b.id = t.grant_ids[1]
       join tokenbook.test_users u on u.user_id = t.user_id
      where t.user_id = $1 and t.entry_type in ('grant', 'expiry')
      order by t.id`,
    [user],
  );
  return rows;
}

/** What is wrong with the books of a user, by every way of looking. */
async function wrongWith(where: Database, user: string): Promise<string[]> {
  const { rows } = await where.admin.query<{ said: string }>(
    `select v::text as said from public.verify_token_ledger($1) v
     union all
     select r::text from public.replay_token_balances($1) r where r.difference <> 0`,
    [user],
  );
  return [...rows.map(({ said }) => said), ...(await breaches(where))];
}

/** A year of the annual plan, as far as it differs from what the plan says; empty where it does not. */
async function aYearOfMonths(where: Database): Promise<string[]> {
  const user = await testUser(where);
  await about(where, user)("change_token_plan", { p_plan_type: "annual_monthly" });
  const { rows } = await where.admin.query<{ start: Date }>(
    "select period_start as start from tokenbook.subscriptions where user_id = $1",
    [user],
  );
  const { start } = rows[0]!;
  const wrong: string[] = [];
  const began = Date.now();
  for (let month = 1; month <= 12; month++) {
    const days = (monthsAfter(start, month) - monthsAfter(start, month - 1)) / day;
    await advance(where, user, `${days} days`);
    wrong.push(...(await wrongWith(where, user)).map((one) => `after month ${month}: ${one}`));
  }
  await advance(where, user, "41 days"); // until the last has run out
  wrong.push(...(await wrongWith(where, user)));
  const took = Date.now() - began;

  const came = await whatCame(where, user);
  const slots = came.filter(({ what }) => what === "grant");
  const expiries = came.filter(({ what }) => what === "expiry");
  const expected = Array.from({ length: 12 }, (_, month) => monthsAfter(start, month));
  for (const [what, list, lag] of [
    ["slot", slots, 0],
    ["expiry", expiries, 40 * day],
  ] as const) {
    const found = list.map(({ at }) => Math.round(at));
    const says = expected.map((at) => at + lag);
    if (found.length !== says.length || found.some((at, nth) => Math.abs(at - says[nth]!) > 1))
      wrong.push(`${what}: ${dates(found)}, not ${dates(says)}`);
    const late = Math.max(...list.map(({ at, booked }) => booked - at));
    if (late > 3000) wrong.push(`an ${what} was booked ${Math.round(late / 1000)} s late`);
  }
  // at any moment there is what was given and has not run out
  for (let at = start.getTime() + day / 2; at < start.getTime() + 400 * day; at += 5 * day) {
    const says = 1000 * expected.filter((slot) => slot <= at && at < slot + 40 * day).length;
    const seen = await where.admin.query<{ ledger: number; total: string }>(
      `select coalesce(sum(t.tokens), 0)::int as ledger,
              public.get_token_balance_as_of($1, to_timestamp($2::float8 / 1000) - u.ahead) ->> 'total_active' as total
         from tokenbook.test_users u
         left join public.token_transactions t on t.user_id = u.user_id and t.created_at <= to_timestamp($2::float8 / 1000) - u.ahead
        where u.user_id = $1 group by u.ahead`,
      [user, at],
    );
    if (seen.rows[0]!.ledger !== says || Number(seen.rows[0]!.total) !== says)
      wrong.push(`on ${dates([at])} ${seen.rows[0]!.ledger} and ${seen.rows[0]!.total}, not ${says}`);
  }
  console.log(
    `an annual plan: slots=${slots.length} expiries=${expiries.length} days=${41 + 365} took=${took} ms violations=${wrong.length}`,
  );
  return wrong;
}

const dates = (moments: number[]) => moments.map((at) => new Date(at).toISOString().slice(0, 16)).join(" ");

/** A year of a plan of 28 days that somebody renews, as far as it differs from what the plan says. */
async function aYearOfPeriods(where: Database): Promise<string[]> {
  const user = await testUser(where);
  const ask = about(where, user);
  await ask("change_token_plan", { p_plan_type: "lunar" });
  const wrong: string[] = [];
  const began = Date.now();
  for (let period = 1; period <= 13; period++) {
    await ask("deduct_tokens_with_fifo", { p_tokens_to_deduct: 300, p_action_type: "chat_conversation" });
    await advance(where, user, "27 days");
    wrong.push(...(await wrongWith(where, user)).map((one) => `in period ${period}: ${one}`));
    const before = await ask("get_user_token_balance");
    if (Number(before.total_active) !== 400)
      wrong.push(`in period ${period} there are ${before.total_active}, not 400`);
    await advance(where, user, "1 day");
    const after = await ask("get_user_token_balance");
    if (Number(after.total_active) !== 0)
      wrong.push(`after period ${period} there are ${after.total_active}`);
    await ask("renew_token_subscription");
    wrong.push(...(await wrongWith(where, user)).map((one) => `after period ${period}: ${one}`));
  }
  const took = Date.now() - began;

  const came = await whatCame(where, user);
  const grants = came.filter(({ what }) => what === "grant");
  const lost = came.filter(({ what }) => what === "expiry").map(({ tokens }) => tokens);
  if (String(lost) !== String(Array.from({ length: 13 }, () => -400))) wrong.push(`lost ${String(lost)}`);
  const apart = grants.slice(1).map(({ at }, nth) => (at - grants[nth]!.at) / day);
  if (apart.length !== 13 || apart.some((days) => Math.abs(days - 28) > 0.01))
    wrong.push(`renewed after ${String(apart)} days`);
  console.log(
    `a plan of 28 days: periods=${grants.length} expiries=${lost.length} took=${took} ms violations=${wrong.length}`,
  );
  return wrong;
}

test("of an annual plan each month's tokens come and go on the days that the plan says", async () => {
  expect(await aYearOfMonths(db)).toEqual([]);
}, 120_000);

test("what is left of a period of 28 days ends with it, 13 times, and each is renewed", async () => {
  expect(await aYearOfPeriods(db)).toEqual([]);
}, 120_000);

test.each([
  ["moved-slots-by-the-months-of-now", aYearOfMonths],
  ["holds-stay-in-the-present", aYearOfPeriods],
  ["terms-stay-in-the-present", aYearOfPeriods],
  ["clocks-leap", aYearOfMonths],
])("the trial sees it: %s", { tags: ["proof"], timeout: 240_000 }, async (mutant, trial) => {
  const broken = await createDatabase();
  await makePlans(broken);
  await applyMutant(broken, mutant);
  const seen = await trial(broken).catch((refused: { code?: string; message: string }) => {
    if (refused.code?.startsWith("PT") !== true) throw refused;
    return [refused.message];
  });
  console.log(`${mutant}: ${seen.length} seen, ${seen[0]?.slice(0, 160)}`);
  expect(seen).not.toEqual([]);
  await broken.drop();
});

test("slots stay on the days of their own calendar, however far they are moved", async () => {
  // every day of two years, months after it; moved by days that are no months
  const { rows } = await db.admin.query<{ tried: number; wrong: number }>(`
    select count(*)::int as tried,
           (count(*) filter (where tokenbook.slot_start(m.schedule, s.start - m.by, n) is distinct from tokenbook.slot_start(p.schedule, s.start, n) - m.by
                          or tokenbook.slot_number(m.schedule, s.start - m.by, tokenbook.slot_start(m.schedule, s.start - m.by, n)) <> n))::int as wrong
      from generate_series('2027-01-01T10:30:00.123456Z'::timestamptz, '2028-12-31', interval '1 day') as s (start)
     cross join (values ('month', 'anniversary'), ('month', 'calendar'), ('week', 'calendar')) as k (every, "on")
     cross join lateral (select jsonb_build_object('every', k.every, 'on', k."on") as schedule) p
     cross join unnest(array[1, 31, 45, 100, 366]) as d (days)
     cross join lateral (
       select d.days * interval '24 hours' + interval '1 second' as by,
              tokenbook.moved_moments(jsonb_build_object('schedule', p.schedule), d.days * interval '24 hours' + interval '1 second', gen_random_uuid())
                -> 'schedule' as schedule) m
     cross join generate_series(0, 12, 4) n`);
  console.log(`slots=${rows[0]!.tried} violations=${rows[0]!.wrong}`);
  expect(rows[0]!.wrong).toBe(0);
});
