/** Which users' clocks may be advanced, by which callers, how far, and that none of their rows is left behind. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { breaches, grant } from "../support/books.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { populateUser } from "../support/populated-user.ts";
import { asAnon, asService, asUser, createUser, rpc } from "../support/roles.ts";
import { about, setPlan } from "../plans/schedules/schedules.ts";
import { setRule } from "../alerts/alerts.ts";
import { advance, advanceOnce, testUser } from "./clock.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

describe("who may", () => {
  test("no role of the API advances a clock or names a test user", async () => {
    const user = await testUser(db);
    for (const as of [
      asAnon,
      asService,
      (of: Database, work: Parameters<typeof asAnon>[1]) => asUser(of, user, work),
    ])
      for (const sql of [
        `select tokenbook.advance_test_clock('${user}', '1 day')`,
        `select tokenbook.move_past('${user}', '1 day')`,
        `insert into tokenbook.test_users (user_id) values ('${user}')`,
      ])
        await expect(
          as(db, (client) => client.query(sql)),
          sql,
        ).rejects.toMatchObject({ code: "42501" });
  });

  /** Users whose clock nobody advances, and what they are told; empty where nobody did. */
  async function advancedAllTheSame(where: Database): Promise<string[]> {
    const wrong: string[] = [];
    const expectRefused = async (user: string, rule: string) => {
      const said = await advanceOnce(where, user, "1 day").then(
        () => "advanced",
        ({ message, detail }: { message: string; detail: string }) => `${message} ${JSON.parse(detail).rule}`,
      );
      if (said !== `not_a_test_user ${rule}`) wrong.push(`${rule}: ${said}`);
    };
    const anybody = await createUser(where);
    await grant(where, anybody, 100);
    await expectRefused(anybody, "named in tokenbook.test_users");
    const payer = await testUser(where);
    await asService(where, (client) =>
      rpc(client, "set_token_customer", {
        p_user_id: payer,
        p_provider: "stripe",
        p_customer_id: `cus_${payer}`,
      }),
    );
    await expectRefused(payer, "nobody of whom a payment provider has told");
    const sealed = await testUser(where);
    await grant(where, sealed, 100);
    await asService(where, (client) => rpc(client, "checkpoint_token_ledger", {}));
    await expectRefused(sealed, "in no checkpoint of the ledger");
    return wrong;
  }

  test("only a named test user, of whom no provider has told and whom no checkpoint covers", async () => {
    expect(await advancedAllTheSame(db)).toEqual([]);
  });

  test.each([["clocks-of-anybody"], ["clocks-of-who-paid"], ["clocks-of-what-is-sealed"]])(
    "the test sees it: %s",
    { tags: ["proof"] },
    async (mutant) => {
      const broken = await createDatabase();
      await applyMutant(broken, mutant);
      const seen = await advancedAllTheSame(broken);
      console.log(`${mutant}: ${String(seen)}`);
      expect(seen).toHaveLength(1);
      await broken.drop();
    },
  );

  test("somebody who is nobody is not found", async () => {
    await expect(advanceOnce(db, "00000000-0000-4000-8000-000000000000", "1 day")).rejects.toMatchObject({
      code: "PT404",
      message: "user_not_found",
    });
  });

  test.each(["0", "-1 day", "0.5 seconds", "11 years", "infinity"])(
    "an interval of %s is refused",
    async (by) => {
      const user = await testUser(db);
      await expect(advanceOnce(db, user, by)).rejects.toMatchObject({
        code: "PT400",
        message: "invalid_test_interval",
      });
    },
  );
});

/** What the ledger lets through after a clock was advanced in the same transaction. */
async function ledgerAfterwards(where: Database): Promise<string> {
  const user = await testUser(where);
  await grant(where, user, 100);
  const client = await where.admin.connect();
  try {
    await client.query("begin");
    await client.query("select tokenbook.advance_test_clock($1, '1 day')", [user]);
    return await client
      .query("update public.token_transactions set reason = 'x' where user_id = $1", [user])
      .then(
        () => "changed",
        ({ message }: Error) => message,
      );
  } finally {
    await client.query("rollback");
    client.release();
  }
}

test("once a clock was advanced the ledger is append-only again, in the same transaction too", async () => {
  expect(await ledgerAfterwards(db)).toBe("ledger_is_append_only");
});

test("the test sees it: moving-leaves-the-ledger-open", { tags: ["proof"] }, async () => {
  const broken = await createDatabase();
  await applyMutant(broken, "moving-leaves-the-ledger-open");
  expect(await ledgerAfterwards(broken)).toBe("changed");
  await broken.drop();
});

test("alerts come when they would have: a warning before tokens run out", async () => {
  const user = await testUser(db);
  const ask = about(db, user);
  await setRule(db, { rule: "soon", kind: "expiring_soon", hours: 72 });
  await grant(db, user, 100, { expires_in: "10 days" });
  expect((await advanceOnce(db, user, "6 days")).alerts).toBe(0);
  expect((await advanceOnce(db, user, "2 days")).alerts).toBe(1);
  expect(Number((await ask("get_user_token_balance")).total_active)).toBe(100);
  const last = await advanceOnce(db, user, "3 days");
  expect(last).toMatchObject({ ahead_seconds: 11 * 86_400, transactions: 1, is_done: true, seconds_left: 0 });
  expect(Number((await ask("get_user_token_balance")).total_active)).toBe(0);
});

test("a call takes 100 steps at most, and says what is left", async () => {
  await setPlan(db, "daily", {
    tokens: 5,
    billing_cycle: "annual",
    issue_every: "day",
    grant_lifetime_days: 2,
    price_cents: 100,
  });
  const user = await testUser(db);
  await about(db, user)("change_token_plan", { p_plan_type: "daily" });
  const first = await advanceOnce(db, user, "105 days");
  expect(first).toMatchObject({ is_done: false });
  expect(first.advanced_seconds + first.seconds_left).toBe(105 * 86_400);
  const rest = await advance(db, user, `${first.seconds_left} seconds`);
  const { rows } = await db.admin.query(
    "select count(*) filter (where entry_type = 'grant')::int as given, count(*) filter (where entry_type = 'expiry')::int as lost from public.token_transactions where user_id = $1",
    [user],
  );
  expect(rows).toEqual([{ given: 106, lost: 104 }]);
  expect(await breaches(db)).toEqual([]);
  console.log(`daily slots: calls=${1 + rest.length}`);
}, 120_000);

/** Whether two grants of slots of one subscription would have one id. */
async function slotsThatMeet(where: Database): Promise<number> {
  const user = await testUser(where);
  await setPlan(where, "weekly", {
    tokens: 5,
    billing_cycle: "28day",
    issue_every: "week",
    price_cents: 100,
  });
  await about(where, user)("change_token_plan", { p_plan_type: "weekly" });
  for (let period = 0; period < 2; period++) {
    await advance(where, user, "28 days");
    await about(where, user)("renew_token_subscription");
  }
  const { rows } = await where.admin.query<{ given: number }>(
    "select count(*)::int as given from public.token_transactions where user_id = $1 and entry_type = 'grant'",
    [user],
  );
  return rows[0]!.given;
}

test("each slot is given, however often a slot began at that moment before", async () => {
  expect(await slotsThatMeet(db)).toBe(9);
  expect(await breaches(db)).toEqual([]);
});

test("the test sees it: moved-slots-meet-older-ones", { tags: ["proof"] }, async () => {
  const broken = await createDatabase();
  await applyMutant(broken, "moved-slots-meet-older-ones");
  expect(await slotsThatMeet(broken)).toBeLessThan(9);
  await broken.drop();
});

describe("nothing is left behind", () => {
  /** What stays when somebody's clock is advanced, and why. Everything else with a moment moves. */
  const stays: Record<string, string> = {
    "tokenbook.archived_profile_counters": "of a migration",
    "tokenbook.cleared_token_balances": "of a migration",
    "tokenbook.provider_customers": "a provider's; such a user has no test clock",
    "tokenbook.provider_payments": "a provider's; such a user has no test clock",
    "tokenbook.provider_subscriptions": "a provider's; such a user has no test clock",
    "tokenbook.test_users": "who is a test user since when",
    "tokenbook.usage_marks": "counted anew",
    "tokenbook.usage_totals": "counted anew",
    "tokenbook.webhook_deliveries": "sent by the real clock",
  };
  /** Tables with moments that are no user's, or in which one is found by something else than a user_id. */
  const ofNobody = [
    "token_default_spend_caps",
    "token_grant_types",
    "token_model_prices",
    "token_model_rates",
    "token_packs",
    "token_plans",
    "tokenbook.burn_orders",
    "tokenbook.chosen_limits",
    "tokenbook.chosen_model_policy",
    "tokenbook.chosen_referral_policy",
    "tokenbook.chosen_trial_policy",
    "tokenbook.codes",
    "tokenbook.migration_reports",
    "tokenbook.provider_events",
    "tokenbook.provider_subscription_events",
    "tokenbook.revenue_totals",
    "tokenbook.sale_rounds",
    "tokenbook.shadow",
    "tokenbook.shadow_changes",
    "tokenbook.trial_keys",
    "tokenbook.trials_taken", // a digest beside no user
    "tokenbook.usage_archives", // of everybody together
    "tokenbook.webhook_endpoints",
  ];
  /** JSON that holds moments and stays, and why. */
  const staysInJson: Record<string, string> = {
    "token_transactions.request": "what was asked, by which a replay is told from another request",
  };

  test("every moment of a user's rows moves, but those of which it is said why not", async () => {
    const user = (await populateUser(db)).id;
    const { rows: columns } = await db.admin.query<{
      name: string;
      column: string;
      type: string;
      own: boolean;
    }>(`
      select c.oid::regclass::text as name, a.attname as column, format_type(a.atttypid, null) as type,
             exists (select from pg_attribute u where u.attrelid = c.oid and u.attname = 'user_id' and not u.attisdropped) as own
        from pg_class c
        join pg_attribute a on a.attrelid = c.oid and a.atttypid in ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype)
                           and a.attnum > 0 and not a.attisdropped
       where c.relkind in ('r', 'p')
         and (c.relnamespace = 'tokenbook'::regnamespace
           or c.relnamespace = 'public'::regnamespace and c.relname = any (tokenbook.own_relations()))
       order by 1, 2`);
    const read = async () =>
      Object.fromEntries(
        await Promise.all(
          columns
            .filter(({ own }) => own)
            .map(async ({ name, column }) => [
              `${name}.${column}`,
              (
                await db.admin.query<{ at: string }>(
                  `select extract(epoch from "${column}")::text as at from ${name}
                    where user_id = $1 and isfinite("${column}") order by 1`,
                  [user],
                )
              ).rows.map(({ at }) => Number(at)),
            ]),
        ),
      ) as Record<string, number[]>;
    const before = await read();
    await db.admin.query("select tokenbook.move_past($1, '1000 seconds')", [user]);
    const after = await read();

    const wrong: string[] = [];
    let tried = 0;
    for (const [column, moments] of Object.entries(before)) {
      const table = column.slice(0, column.lastIndexOf("."));
      if (stays[table] !== undefined || column.endsWith(".spent_at")) continue;
      tried += moments.length;
      if (moments.some((at, nth) => Math.abs(at - after[column]![nth]! - 1000) > 0.001)) wrong.push(column);
    }
    console.log(`columns=${Object.keys(before).length} moments=${tried} left behind=${wrong.length}`);
    expect(wrong).toEqual([]);
    expect(tried).toBeGreaterThan(40);
    expect([...new Set(columns.filter(({ own }) => !own).map(({ name }) => name))]).toEqual(ofNobody);
    expect(columns.filter(({ type }) => type !== "timestamp with time zone")).toEqual([]); // or it is not moved
    expect(await breaches(db)).toEqual([]);
  });

  test("so does every moment in JSON, but of a request", async () => {
    const user = (await populateUser(db)).id;
    await livesOn(user);
    const { rows: columns } = await db.admin.query<{ name: string; column: string }>(`
      select c.oid::regclass::text as name, a.attname as column
        from pg_class c
        join pg_attribute a on a.attrelid = c.oid and a.atttypid = 'jsonb'::regtype and not a.attisdropped
       where c.relkind in ('r', 'p') and not c.relispartition and (c.relnamespace = 'tokenbook'::regnamespace
           or c.relnamespace = 'public'::regnamespace and c.relname = any (tokenbook.own_relations()))
         and exists (select from pg_attribute u where u.attrelid = c.oid and u.attname = 'user_id' and not u.attisdropped)
       order by 1, 2`);
    const read = async () => {
      const found: Record<string, number[]> = {};
      for (const { name, column } of columns) {
        const moments = await db.admin.query<{ at: string }>(
          `select extract(epoch from m[1]::timestamptz)::text as at
             from ${name} r
            cross join lateral regexp_matches(r."${column}"::text, '\\d{4}-\\d\\d-\\d\\d[T ][0-9:.]+(?:Z|[+-][0-9:]+)?', 'g') m
            where r.user_id = $1 order by 1`,
          [user],
        );
        if (moments.rows.length > 0) found[`${name}.${column}`] = moments.rows.map(({ at }) => Number(at));
      }
      return found;
    };
    const before = await read();
    await db.admin.query("select tokenbook.move_past($1, '1000 seconds')", [user]);
    const after = await read();
    const left = Object.keys(before).filter(
      (column) =>
        staysInJson[column] === undefined &&
        stays[column.slice(0, column.lastIndexOf("."))] === undefined &&
        before[column]!.some((at, nth) => Math.abs(at - after[column]![nth]! - 1000) > 0.001),
    );
    console.log(
      `moments in ${Object.entries(before)
        .map(([column, found]) => `${column}: ${found.length}`)
        .join(", ")}`,
    );
    expect(left).toEqual([]);
    expect(Object.keys(before).length).toBeGreaterThan(3);
    expect(await breaches(db)).toEqual([]);
  });

  /** What else leaves moments in JSON: slots, plans beside each other, a downgrade, an expiry said anew, a void, a warning. */
  async function livesOn(user: string): Promise<void> {
    const ask = about(db, user);
    await setPlan(db, "small", {
      tokens: 5,
      billing_cycle: "28day",
      issue_every: "day",
      price_cents: 100,
      rank: 1,
    });
    await setPlan(db, "large", {
      tokens: 9,
      billing_cycle: "28day",
      issue_every: "day",
      price_cents: 900,
      rank: 2,
    });
    await ask("change_token_plan", { p_plan_type: "small" });
    await ask("change_token_plan", { p_plan_type: "large" });
    await db.admin.query("select tokenbook.move_past($1, '2 days')", [user]);
    await ask("change_token_plan", { p_plan_type: "small" });
    const [voided, longer] = [
      await grant(db, user, 7, { expires_in: "9 days" }),
      await grant(db, user, 7, { expires_in: "9 days" }),
    ];
    await ask("void_token_grant", { p_grant_id: voided, p_reason: "a test" });
    const { rows } = await db.admin.query<{ at: string }>("select (now() + interval '20 days')::text as at");
    await ask("set_token_grant_expiry", {
      p_grant_id: longer,
      p_expires_at: rows[0]!.at,
      p_reason: "a test",
    });
  }
});
