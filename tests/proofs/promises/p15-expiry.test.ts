// @module-tag proof
import type pg from "pg";
import { setTimeout as sleep } from "node:timers/promises";
import { breaches } from "../../support/books.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { type Dice, diceFor } from "../../support/dice.ts";
import { applyMutant } from "../../support/mutants.ts";
import { createUser } from "../../support/roles.ts";
import { connectAsOwner, connectAsServer } from "../../support/storm.ts";
import { keep, type Scale } from "./promise.ts";

/** What each part of the trial must see. */
const variants = {
  instants: "expiry-inclusive",
  waits: "clock-read-before-the-lock",
  calendar: "months-of-the-session",
  caps: "caps-begin-a-moment-late",
};

keep({
  id: "P15",
  promise: "Nothing is spent or counted at or after its expiry, and nothing is lost before it",
  trial:
    "Grants and holds looked at, and booked, at instants around their expiry (to the microsecond), in 12 time zones, over leap days and clock changes; spending that waits for a lock across an expiry; the sweeper never run, run twice at once, killed; lifetimes, periods and the windows of caps compared with UTC arithmetic",
  run: async (scale) => {
    const db = await createDatabase();
    try {
      const tried = await tryIt(db, scale);
      const examples = [...Object.values(tried.wrong).flat(), ...(await breaches(db))];
      return { ...tried, violations: examples.length, examples: examples.slice(0, 5) };
    } finally {
      await db.drop();
    }
  },
  control: {
    variant:
      "the last instant counts; the clock read before the lock; months of the session's time zone; a cap's first instant left out",
    // each of the four has to be seen by its part
    run: async () => {
      const db = await createDatabase();
      try {
        for (const mutant of Object.values(variants)) await applyMutant(db, mutant);
        const { wrong, ...tried } = await tryIt(db, "short");
        const found = Object.keys(variants).map((part) => wrong[part as keyof typeof variants]);
        return {
          ...tried,
          violations: Math.min(...found.map(({ length }) => length)),
          examples: found.map(([first]) => first ?? "not seen"),
        };
      } finally {
        await db.drop();
      }
    },
  },
});

/** East and west of the date line, half and quarter hours, winter and summer at other times. */
const zones = [
  "Pacific/Kiritimati",
  "Pacific/Pago_Pago",
  "Pacific/Chatham",
  "Australia/Lord_Howe",
  "Asia/Kolkata",
  "Asia/Kathmandu",
  "Europe/London",
  "Africa/Casablanca",
  "America/St_Johns",
  "America/New_York",
  "America/Sao_Paulo",
  "UTC",
];

/** Where calendars are awkward: leap days, changes of the clock, ends of years, months and weeks. */
const awkward = [
  "2096-02-29T00:00:00Z",
  "2096-03-01T00:00:00Z",
  "2095-02-28T23:59:59Z",
  "2092-02-29T12:00:00Z",
  "2095-03-27T01:00:00Z",
  "2095-10-30T01:00:00Z",
  "2095-03-13T07:00:00Z",
  "2095-11-06T06:00:00Z",
  "2095-12-31T23:59:59Z",
  "2096-01-01T00:00:00Z",
  "2096-01-31T10:00:00Z",
  "2095-01-03T00:00:00Z",
];

interface Parts {
  times: number;
  unit: string;
  mix: Record<string, number>;
  wrong: { instants: string[]; waits: string[]; sweeper: string[]; calendar: string[]; caps: string[] };
}

async function tryIt(db: Database, scale: Scale): Promise<Parts> {
  const rounds = scale === "long" ? 10 : 1;
  const mix: Record<string, number> = {};
  const wrong: Parts["wrong"] = { instants: [], waits: [], sweeper: [], calendar: [], caps: [] };
  const count = (what: string, times: number) => (mix[what] = (mix[what] ?? 0) + times);
  const look = async () => {
    for (let round = 0; round < rounds; round++) {
      for (const [nth, zone] of zones.entries()) {
        const client = await connectAsOwner(db);
        const dice = diceFor(round * zones.length + nth);
        try {
          await client.query(`set time zone '${zone}'`);
          count("instants", await lookAtInstants(db, client, { nth, dice }, wrong.instants));
          if (round > 0) continue;
          count("lifetimes and periods", await compareCalendar(db, client, dice, wrong.calendar));
          count("instants of caps", await compareCaps(db, client, dice, wrong.caps));
        } finally {
          await client.end();
        }
      }
    }
  };
  const [, waited, swept] = await Promise.all([
    look(),
    wait(db, wrong.waits),
    sweep(db, scale === "long" ? 200 : 30, wrong.sweeper),
  ]);
  count("spent in time, or refused, after a wait", waited);
  count("accounts swept", swept);
  const times = Object.values(mix).reduce((sum, one) => sum + one, 0);
  mix["time zones"] = zones.length;
  return { times, unit: "moments", mix, wrong };
}

/** Moments are counted in microseconds, as Postgres does; a Date has milliseconds. */
const microseconds = (iso: string): bigint => BigInt(Date.parse(iso)) * 1_000n;
const isoOf = (at: bigint): string =>
  `${new Date(Number(at / 1_000_000n) * 1_000).toISOString().slice(0, 19)}.${String(at % 1_000_000n).padStart(6, "0")}Z`;

interface Lot {
  id: string;
  /** Of what it has, this is free; the rest is set aside. */
  left: number;
  expires: bigint | null;
}

/**
 * A user with grants and holds that run out at, just before and just after awkward moments: at each of
 * many instants every token is in one of its places, and is booked into that place.
 */
async function lookAtInstants(
  db: Database,
  client: pg.Client,
  { nth, dice }: { nth: number; dice: Dice },
  wrong: string[],
): Promise<number> {
  const user = await createUser(db);
  const around = awkward[nth % awkward.length]!;
  const lots: Lot[] = [];
  for (let grant = 0; grant < 8; grant++) {
    const expires = grant === 0 ? null : microseconds(around) + BigInt(dice.below(5) - 2);
    const tokens = 5 + dice.below(20);
    const { rows } = await client.query(
      "select public.grant_tokens($1, $2, 'purchase', $3, $4) ->> 'grant_id' as id",
      [user, tokens, expires === null ? "infinity" : isoOf(expires), dice.any([40, 50, 60])],
    );
    lots.push({ id: rows[0].id, left: tokens, expires });
  }
  const holds: { expires: bigint; parts: { grant_id: string; deducted: number }[] }[] = [];
  for (let hold = 0; hold < 3; hold++) {
    const { rows } = await client.query("select public.reserve_tokens($1, $2) as receipt", [
      user,
      1 + dice.below(15),
    ]);
    const expires = microseconds(around) + BigInt(dice.below(5) - 2);
    await client.query(
      "update public.token_holds set expires_at = $3, created_at = $3::timestamptz - interval '20 hours' where user_id = $1 and id = $2",
      [user, rows[0].receipt.hold_id, isoOf(expires)],
    );
    holds.push({ expires, parts: rows[0].receipt.reserved_from });
    for (const { grant_id, deducted } of rows[0].receipt.reserved_from) {
      lots.find(({ id }) => id === grant_id)!.left -= deducted;
    }
  }
  await client.query(
    `update public.token_accounts set next_due_at = (select min(expires_at) from
       (select expires_at from public.token_holds where user_id = $1 union all
        select expires_at from public.token_balances where user_id = $1) due) where user_id = $1`,
    [user],
  );

  const instants = [-3n, -2n, -1n, 0n, 1n, 2n, 3n, -3_600_000_000n, 3_600_000_000n].map(
    (by) => microseconds(around) + by,
  );
  for (const now of instants) {
    const lives = (lot: Lot) => lot.expires === null || lot.expires > now;
    const isBack = holds.filter(({ expires }) => expires <= now).flatMap(({ parts }) => parts);
    const back = (of: (lot: Lot) => boolean) =>
      isBack
        .filter(({ grant_id }) => of(lots.find(({ id }) => id === grant_id)!))
        .reduce((sum, { deducted }) => sum + deducted, 0);
    const left = (of: (lot: Lot) => boolean) => lots.filter(of).reduce((sum, lot) => sum + lot.left, 0);
    const lost = left((lot) => !lives(lot));
    const expected = {
      lost,
      returned: back(lives),
      forfeited: back((lot) => !lives(lot)),
      spendable: left(lives) + back(lives),
      booked: left(lives) + back(lives),
    };

    await client.query("begin");
    const { rows } = await client.query(
      `select d.lost::int, d.returned::int, d.forfeited::int,
              (select coalesce(sum(t), 0)::int from tokenbook.choose_grants($1, 1000000, $2, p_count_due => true) c, unnest(c.grant_tokens) t) as spendable
         from tokenbook.tokens_due($1, $2) d`,
      [user, isoOf(now)],
    );
    await client.query("select tokenbook.record_expiries(array[$1::uuid], $2)", [user, isoOf(now)]);
    const after = await client.query(
      "select tokens_remaining::int as booked from public.token_accounts where user_id = $1",
      [user],
    );
    await client.query("rollback");
    const found = { ...rows[0], ...after.rows[0] };
    if (JSON.stringify(found) !== JSON.stringify(expected)) {
      wrong.push(`at ${isoOf(now)}: ${JSON.stringify(found)}, not ${JSON.stringify(expected)}`);
    }
  }
  return instants.length;
}

const spendings = [
  "public.deduct_tokens_with_fifo($1, 10)",
  "public.track_token_usage($1, 'chat_conversation', p_tokens_used => 10)",
  "public.reserve_tokens($1, 10)",
  "public.adjust_tokens($1, -10)",
  "public.deduct_tokens_batch(jsonb_build_array(jsonb_build_object('user_id', $1::uuid, 'tokens', 10))) #> '{results,0}'",
];

/** Each way of spending begins while a grant lives and waits for its account until it has run out, or not. */
async function wait(db: Database, wrong: string[]): Promise<number> {
  const one = async (spending: string, isTooLate: boolean) => {
    // on a busy machine a short life is over before anybody waits: then with a longer one, still less than
    // what a lock is waited for
    for (const lifetime of isTooLate ? [500, 1_000, 1_500] : [3_600_000]) {
      const outcome = await spendAfterAWait(db, spending, { lifetime, isTooLate });
      if (outcome === "did not wait in time") continue;
      if (outcome !== !isTooLate) {
        const what = isTooLate ? "spent what had run out" : "did not spend what was there";
        wrong.push(`${spending}: ${what} (${outcome})`);
      }
      return;
    }
    throw new Error(`${spending}: the machine is too slow to let it wait across an expiry`);
  };
  const all = spendings.flatMap((spending) => [true, false].map((isTooLate) => one(spending, isTooLate)));
  await Promise.all(all);
  return all.length;
}

/**
 * Spends from a grant of so many milliseconds whose account is locked, until it has run out or no longer
 * than until somebody waits.
 *
 * @returns whether it was spent, or an error's message
 */
async function spendAfterAWait(
  db: Database,
  spending: string,
  { lifetime, isTooLate }: { lifetime: number; isTooLate: boolean },
): Promise<boolean | string> {
  const [locker, spender] = [await connectAsOwner(db), await connectAsServer(db)];
  try {
    const user = await createUser(db);
    const { rows: granted } = await locker.query(
      `select public.grant_tokens($1, 10, 'purchase', clock_timestamp() + $2 * interval '1 millisecond') ->> 'expires_at' as ends`,
      [user, lifetime],
    );
    const { ends } = granted[0];
    const { rows: backend } = await spender.query("select pg_backend_pid() as pid");
    await locker.query("begin");
    await locker.query("select from public.token_accounts where user_id = $1 for update", [user]);
    const asked = spender.query(`select ${spending} as receipt`, [user]).then(
      ({ rows }) => rows[0].receipt.success as boolean,
      (error: Error) => error.message,
    );
    const answered = asked.then(() => "answered" as const);
    let found: "answered" | { waits: boolean; lives: boolean };
    do {
      await sleep(5);
      const looking = db.admin.query(
        "select cardinality(pg_blocking_pids($1)) > 0 as waits, clock_timestamp() < $2::timestamptz as lives",
        [backend[0].pid, ends],
      );
      found = await Promise.race([answered, looking.then(({ rows }) => rows[0])]);
    } while (found !== "answered" && !found.waits);
    const waitedInTime = found !== "answered" && found.lives;
    if (isTooLate) {
      await locker.query("select pg_sleep_until($1::timestamptz + interval '10 milliseconds')", [ends]);
    }
    await locker.query("commit");
    const outcome = await asked;
    return waitedInTime ? outcome : "did not wait in time";
  } finally {
    await Promise.all([locker.end(), spender.end()]);
  }
}

/** The same users three times: nobody sweeps; two sweepers at once, twice; a sweeper that is killed. */
async function sweep(db: Database, users: number, wrong: string[]): Promise<number> {
  const made = await Promise.all(
    Array.from({ length: 3 }, async () => {
      const ids = await Promise.all(Array.from({ length: users }, () => createUser(db)));
      // two grants and a hold that run out, and what lasts
      await db.admin.query(
        `select public.grant_tokens(id, 10 + nth, 'purchase'), public.grant_tokens(id, 7, 'trial', clock_timestamp() + interval '2 seconds'),
                public.grant_tokens(id, 3, 'trial', clock_timestamp() + interval '2 seconds'), public.reserve_tokens(id, 5, 2)
           from unnest($1::uuid[]) with ordinality u (id, nth)`,
        [ids],
      );
      return ids;
    }),
  );
  const [never, twice, killed] = made as [string[], string[], string[]];
  await sleep(2_100);
  const spendable = async (what: string, ids: string[]) => {
    const { rows } = await db.admin.query(
      `select (public.get_user_token_balance(id) ->> 'total_active')::int as tokens,
              (public.deduct_tokens_with_fifo(id, 11 + nth) ->> 'success')::boolean as too_much
         from unnest($1::uuid[]) with ordinality u (id, nth) order by nth`,
      [ids],
    );
    rows.forEach(({ tokens, too_much }, nth) => {
      if (tokens !== 11 + nth || too_much) wrong.push(`${what}: ${tokens} of ${11 + nth}, spent=${too_much}`);
    });
  };
  const booked = async (ids: string[]) => {
    const { rows } = await db.admin.query<{ booked: string }>(
      `select string_agg(t.entry_type, ' ' order by t.id) filter (where t.entry_type in ('release', 'expiry')) as booked
         from unnest($1::uuid[]) u (id) join public.token_transactions t on t.user_id = u.id group by u.id`,
      [ids],
    );
    return [...new Set(rows.map((row) => row.booked))].join(", ");
  };
  const sweeper = () => db.admin.query("select public.expire_old_token_grants(10000)");

  await spendable("never swept", never);
  // killed with its work done and not committed
  const victim = await connectAsOwner(db);
  await victim.query("begin");
  await victim.query("select tokenbook.record_expiries($1, clock_timestamp())", [killed]);
  const { rows } = await victim.query("select pg_backend_pid() as pid");
  await db.admin.query("select pg_terminate_backend($1)", [rows[0].pid]);
  await victim.end().catch(() => {});
  const left = await booked(killed);
  if (left !== "") wrong.push(`of a sweeper that was killed is left: ${left}`);

  await Promise.all([sweeper(), sweeper()]);
  await Promise.all([sweeper(), sweeper()]);
  for (const [what, ids] of Object.entries({ never, twice, killed })) {
    const found = await booked(ids);
    if (found !== "release expiry expiry") wrong.push(`${what} swept: booked ${found}`);
  }
  await spendable("swept twice", twice);
  await spendable("killed, and swept again", killed);
  return 3 * users;
}

/** A date's fields in UTC, a month or a year on; what the shorter month does not have is its last day. */
function later(at: bigint, months: number): bigint {
  const from = new Date(Number(at / 1_000n));
  const first = new Date(from);
  first.setUTCDate(1);
  first.setUTCMonth(first.getUTCMonth() + months);
  const last = new Date(Date.UTC(first.getUTCFullYear(), first.getUTCMonth() + 1, 0)).getUTCDate();
  first.setUTCDate(Math.min(from.getUTCDate(), last));
  return BigInt(first.getTime()) * 1_000n + (at % 1_000n);
}

const DAY = 86_400_000_000n;

/** Lifetimes are seconds, and periods the months of UTC, whatever the session's time zone. */
async function compareCalendar(
  db: Database,
  client: pg.Client,
  dice: Dice,
  wrong: string[],
): Promise<number> {
  const ends: Record<string, (at: bigint) => bigint> = {
    "grant annual": (at) => at + 365n * DAY,
    "grant admin": (at) => at + 365n * DAY,
    "grant 28day": (at) => at + 90n * DAY,
    "grant trial": (at) => at + 56n * DAY,
    "period 28day": (at) => at + 28n * DAY,
    "period monthly": (at) => later(at, 1),
    "period annual": (at) => later(at, 12),
  };
  const moments = [...awkward, "2096-01-30T23:30:00Z", "2095-12-31T20:00:00Z", "2096-02-29T04:30:00Z"].map(
    (iso) => microseconds(iso) + BigInt(dice.below(1_000)),
  );
  const { rows } = await client.query<{ kind: string; at: string; ends: string }>(
    `select k as kind, m as at,
            (extract(epoch from case when k like 'grant %' then m::timestamptz + (tokenbook.grant_type_terms(split_part(k, ' ', 2)) ->> 'lifetime_hours')::integer * interval '1 hour'
                                     else tokenbook.period_end(jsonb_populate_record(null::public.token_plans,
                                       jsonb_build_object('billing_cycle', split_part(k, ' ', 2))), m::timestamptz) end) * 1000000)::bigint as ends
       from unnest($1::text[]) k, unnest($2::text[]) m`,
    [Object.keys(ends), moments.map(isoOf)],
  );
  const byIso = new Map(moments.map((at) => [isoOf(at), at]));
  for (const { kind, at, ends: found } of rows) {
    const expected = ends[kind]!(byIso.get(at)!);
    if (BigInt(found) !== expected)
      wrong.push(`${kind} from ${at} ends ${isoOf(BigInt(found))}, not ${isoOf(expected)}`);
  }

  // and as it is granted, across a change of the clock
  const user = await createUser(db);
  const granted = await client.query(
    `select extract(epoch from (r ->> 'expires_at')::timestamptz - (r ->> 'granted_at')::timestamptz)::int as seconds
       from public.grant_tokens($1, 5, 'annual', p_granted_at => date_trunc('day', now() - interval '20 days')) r`,
    [user],
  );
  if (granted.rows[0].seconds !== 365 * 86_400) wrong.push(`a year has ${granted.rows[0].seconds} seconds`);
  return rows.length + 1;
}

/** When the window of a cap begins that an instant lies in. */
const begins: Record<string, (at: bigint) => bigint> = {
  day: (at) => at - (at % DAY),
  // the first of January 1970 was a Thursday
  week: (at) => at - ((at + 3n * DAY) % (7n * DAY)),
  month: (at) => {
    const date = new Date(Number(at / 1_000n));
    return BigInt(Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1)) * 1_000n;
  },
};

/** What was spent at one instant counts at another exactly when both lie in one window. */
async function compareCaps(db: Database, client: pg.Client, dice: Dice, wrong: string[]): Promise<number> {
  const user = await createUser(db);
  await client.query("select public.grant_tokens($1, 10, 'purchase')", [user]);
  for (const window of Object.keys(begins)) {
    await client.query("select public.set_token_spend_cap($1, 100, $2)", [window, user]);
  }
  const pairs = [...awkward, "2095-11-30T00:00:00Z", "2095-05-02T00:00:00Z", "2095-06-01T00:00:00Z"].flatMap(
    (iso) => {
      const at = microseconds(iso);
      return [
        [at - 1n, at - 1n],
        [at - 1n, at],
        [at, at],
        [at, at + 1n],
        [at, at + BigInt(dice.below(40)) * DAY],
        [at - DAY, at - 1n],
      ] as [bigint, bigint][];
    },
  );
  const { rows } = await client.query<{ nth: string; window: string; used: number; resets: string }>(
    `select p.nth, c.spend_window as window, c.used::int, (extract(epoch from c.resets_at) * 1000000)::bigint as resets
       from unnest($2::timestamptz[], $3::timestamptz[]) with ordinality p (spent, now, nth)
       join public.token_accounts a on a.user_id = $1
      cross join lateral tokenbook.spend_caps_of(
        (jsonb_populate_record(a, jsonb_build_object('spent_at', p.spent, 'spent_day', 7, 'spent_week', 7, 'spent_month', 7))),
        null, p.now) as c`,
    [user, pairs.map(([spent]) => isoOf(spent)), pairs.map(([, now]) => isoOf(now))],
  );
  for (const { nth, window, used, resets } of rows) {
    const [spent, now] = pairs[Number(nth) - 1]!;
    const start = begins[window]!(now);
    const expected = spent >= start ? 7 : 0;
    if (used !== expected)
      wrong.push(`spent ${isoOf(spent)}: of the ${window} of ${isoOf(now)} ${used}, not ${expected}`);
    const next = BigInt(resets);
    if (begins[window]!(next) !== next || begins[window]!(next - 1n) !== start)
      wrong.push(`the ${window} of ${isoOf(now)} ends ${isoOf(next)}`);
  }
  return rows.length;
}
