// @module-tag proof
import fc from "fast-check";
import { expect, test } from "vitest";
import { takeTheClock } from "../../support/clock.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { seed } from "../../support/dice.ts";
import { applyMutant } from "../../support/mutants.ts";
import { Account, type Hold, type Schedule, slotStart } from "./model.ts";
import { about, fieldsOf, findings, setPlan, userOn } from "./schedules.ts";

const DAY = 86_400_000;

const schedules: fc.Arbitrary<Schedule> = fc.record({
  every: fc.constantFrom("day", "week", "month"),
  on: fc.constantFrom("anniversary", "calendar"),
  tokens: fc.integer({ min: 1, max: 60 }),
  refill: fc.option(fc.integer({ min: 1, max: 90 }), { freq: 2 }),
  lifetime: fc.option(fc.integer({ min: 1, max: 40 }), { freq: 2 }),
});

/** When the next step is: so many slots on, a second before, at, or some time after the start of one; or days on. */
const waits = fc.oneof(
  fc.record({ slots: fc.integer({ min: 0, max: 4 }), by: fc.constantFrom(-20_000, 1_000, 3_600_000) }),
  fc.record({ days: fc.integer({ min: 0, max: 45 }) }),
  fc.record({ days: fc.constantFrom(0.1, 0.6, 200) }),
);

const steps = fc.array(
  fc.record({
    wait: waits,
    look: fc.boolean(),
    touch: fc.oneof(
      fc.record({ do: fc.constant("spend" as const), tokens: fc.integer({ min: 1, max: 120 }) }),
      fc.record({ do: fc.constant("hold" as const), tokens: fc.integer({ min: 1, max: 60 }) }),
      fc.record({
        do: fc.constantFrom(
          "release" as const,
          "freeze" as const,
          "unfreeze" as const,
          "sweep" as const,
          "nothing" as const,
        ),
      }),
      fc.record({ do: fc.constant("pack" as const), tokens: fc.integer({ min: 1, max: 40 }) }),
    ),
  }),
  { minLength: 3, maxLength: 9, size: "max" },
);

const lives = fc.record({
  schedule: schedules,
  isYearly: fc.boolean(),
  /** On awkward days more often than chance would have it. */
  begins: fc.oneof(
    fc.constantFrom(
      Date.UTC(2027, 0, 31, 10),
      Date.UTC(2028, 1, 29, 0),
      Date.UTC(2027, 11, 31, 23, 59),
      Date.UTC(2028, 1, 28, 12),
    ),
    fc.integer({ min: Date.UTC(2027, 0, 1), max: Date.UTC(2031, 0, 1) }),
  ),
  steps,
});
type Life = typeof lives extends fc.Arbitrary<infer T> ? T : never;

/** Plays a life against the model: what every read says at every step, and what it says later of the moments before. */
async function play(
  db: Database,
  setClock: (at: string) => Promise<void>,
  life: Life,
  plan: string,
  mix: Record<string, number>,
) {
  const count = (what: string) => (mix[what] = (mix[what] ?? 0) + 1);
  await setPlan(db, plan, {
    ...fieldsOf(life.schedule),
    billing_cycle: life.isYearly ? "annual" : "none",
    price_cents: life.isYearly ? 100 : 0,
  });
  await setClock(new Date(life.begins).toISOString());
  const user = await userOn(db, plan);
  const call = about(db, user);
  const { rows } = await db.admin.query(
    `select extract(epoch from period_start) * 1000 as begins, extract(epoch from expires_at) * 1000 as ends
       from public.token_subscriptions where user_id = $1`,
    [user],
  );
  const begins = Number(rows[0].begins);
  const model = new Account(life.schedule, begins, rows[0].ends === null ? Infinity : Number(rows[0].ends));
  const holds: { id: string; hold: Hold }[] = [];
  const seen: { at: string; balance: number }[] = [];
  let now = begins;
  let slot = 0;
  for (const { wait, look, touch } of life.steps) {
    if ("slots" in wait) {
      while (slotStart(life.schedule, begins, slot) <= now) slot++;
      now = Math.max(now + 2_000, slotStart(life.schedule, begins, slot + wait.slots) + wait.by);
    } else {
      now += wait.days * DAY + 2_000;
    }
    await setClock(new Date(now).toISOString());
    if (look) {
      count("looks");
      const found = await lookAt(db, user);
      seen.push({ at: found.at, balance: found.balance });
      const expected = model.balance(Date.parse(found.at));
      const { at, ...of } = found;
      expect(of, `at ${at}, before ${touch.do}`).toEqual({
        balance: expected,
        listed: expected,
        quoted: expected,
        asOf: expected,
      });
    }
    switch (touch.do) {
      case "spend": {
        const receipt = await call("deduct_tokens_with_fifo", { p_tokens_to_deduct: touch.tokens }).catch(
          refusal,
        );
        const isDone = model.isFrozen ? null : model.take(touch.tokens, now);
        expect(receipt.success ?? receipt, `spend at ${new Date(now).toISOString()}`).toEqual(
          model.isFrozen ? "account_frozen" : isDone !== null,
        );
        count(isDone ? "spent" : "short");
        break;
      }
      case "hold": {
        const receipt = await call("reserve_tokens", {
          p_tokens: touch.tokens,
          p_ttl_seconds: 23 * 3_600,
        }).catch(refusal);
        const hold = model.isFrozen ? null : model.hold(touch.tokens, now, 23 * 3_600_000);
        expect(receipt.success ?? receipt).toEqual(model.isFrozen ? "account_frozen" : hold !== null);
        if (hold) holds.push({ id: receipt.hold_id, hold });
        break;
      }
      case "release": {
        const held = holds.pop();
        if (held) {
          await call("release_tokens", { p_hold_id: held.id });
          model.release(held.hold, now);
          count("released");
        }
        break;
      }
      case "pack":
        await call("grant_tokens", { p_tokens: touch.tokens, p_grant_type: "purchase" });
        model.pack(touch.tokens, now);
        break;
      case "freeze":
        await call("set_token_account_state", { p_state: "frozen", p_reason: "a test" });
        if (!model.isFrozen) model.freeze(now);
        break;
      case "unfreeze":
        await call("set_token_account_state", { p_state: "active", p_reason: "a test" });
        if (model.isFrozen) model.unfreeze(now);
        break;
      case "sweep":
        await db.admin.query("select public.expire_old_token_grants(10000)");
        model.touch(now);
        break;
    }
    count(touch.do);
    const after = await lookAt(db, user);
    expect(after.balance, `after ${touch.do} at ${after.at}`).toBe(model.balance(Date.parse(after.at)));
    seen.push({ at: after.at, balance: after.balance });
  }
  for (const { at, balance } of seen) {
    count("moments looked back at");
    const back = await call("get_token_balance_as_of", { p_at: at });
    expect(back.total_active, `looked back at ${at}`).toBe(balance);
  }
  expect(await findings(db, user)).toEqual([]);
  const { rows: slots } = await db.admin.query(
    "select count(*)::int as slots from public.token_transactions where user_id = $1 and action_type = 'scheduled_grant'",
    [user],
  );
  mix["slots"] = (mix["slots"] ?? 0) + slots[0].slots;
}

const refusal = (error: { message: string }) => error.message;

/** What each read says of one moment, in a transaction that may write nothing. */
async function lookAt(db: Database, user: string) {
  const client = await db.admin.connect();
  try {
    await client.query("begin read only");
    const { rows } = await client.query(
      `select b.seen ->> 'total_active' as balance, b.seen -> 'grants' as grants,
              public.estimate_tokens($1, 'chat_conversation', p_tokens_used => 1) ->> 'tokens_remaining' as quoted,
              to_char(at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at,
              public.get_token_balance_as_of($1, at) ->> 'total_active' as as_of
         from (select public.get_user_token_balance($1) as seen, tokenbook.test_now() as at) b`,
      [user],
    );
    const [row] = rows;
    return {
      at: row.at as string,
      balance: Number(row.balance),
      listed: (row.grants as { tokens_remaining: number }[]).reduce(
        (sum, { tokens_remaining }) => sum + tokens_remaining,
        0,
      ),
      quoted: Number(row.quoted),
      asOf: Number(row.as_of),
    };
  } finally {
    await client.query("rollback");
    client.release();
  }
}

/** Random lives until one of them goes wrong. */
async function tryIt(
  lifeCount: number,
  mutant: string | null,
): Promise<{ mix: Record<string, number>; violation: string | null }> {
  const db = await createDatabase();
  const mix: Record<string, number> = {};
  let violation: string | null = null;
  try {
    if (mutant) await applyMutant(db, mutant);
    const setClock = await takeTheClock(db);
    let nth = 0;
    for (const life of fc.sample(lives, { numRuns: lifeCount, seed })) {
      try {
        await play(db, setClock, life, `plan_${nth++}`, mix);
      } catch (error) {
        violation = `${String((error as Error).message)} ${JSON.stringify((error as { actual?: unknown }).actual ?? null)} in ${JSON.stringify(life)}`;
        break;
      }
    }
    return { mix, violation };
  } finally {
    await db.drop();
  }
}

test(
  "random schedules, used at random moments, give what an independent model says, at every read and looked back at",
  { timeout: 300_000 },
  async () => {
    const { mix, violation } = await tryIt(60, null);
    console.log(`schedules lives=60 seed=${seed} mix=${JSON.stringify(mix)}`);
    expect(violation).toBeNull();
    expect(mix["slots"]).toBeGreaterThan(60);
  },
);

test.each([
  ["slots-are-given-again", "a slot given twice"],
  ["refills-make-up-what-was-missed", "missed slots all made up on a refill"],
  ["late-slots-live-a-full-life", "late slots that live a full life"],
  ["reads-do-not-know-what-is-due", "a read that does not know what is due"],
  ["refills-look-at-what-there-is-now", "a refill that depends on when somebody comes by"],
  ["held-tokens-are-filled-up", "tokens set aside count as spent"],
  ["frozen-time-is-made-up", "frozen time is made up"],
  ["frozen-accounts-get-slots", "slots while the account is frozen"],
  ["slots-go-on-after-the-end", "slots after the plan's end"],
  ["the-past-knows-no-slots", "a moment looked back at without what was due then"],
])("%s is seen: %s", { timeout: 300_000 }, async (mutant) => {
  const { violation } = await tryIt(200, mutant);
  console.log(`${mutant}: ${violation?.slice(0, 300)}`);
  expect(violation).not.toBeNull();
});
