import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../../support/database.ts";
import { asService, asUser, createUser, rpc } from "../../support/roles.ts";
import { expectCleanBooks } from "../../support/books.ts";
import { giveFreePlanAtRegistration, show, standing } from "../../support/plans.ts";
import { storm } from "../../support/storm.ts";
import { applyMutant } from "../../support/mutants.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
  await giveFreePlanAtRegistration(db);
});
afterAll(() => db.drop());

const NOBODY = { plan: null, limit: null, balance: null, owed: null };

test("a new user has the free plan, 10,000 tokens and a limit of 10,000 at once", async () => {
  const user = await createUser(db);

  const after = await standing(db, user);

  show("registration", NOBODY, after);
  expect(after).toEqual({ plan: "free", limit: 10_000, balance: 10_000, owed: 0 });
  const receipt = await asUser(db, user, (client) =>
    rpc(client, "deduct_tokens_with_fifo", {
      p_user_id: user,
      p_tokens_to_deduct: 300,
      p_action_type: "seo_title",
    }),
  );
  expect(receipt).toMatchObject({ success: true, tokens_remaining: 9_700 });
  expect(await standing(db, user)).toMatchObject({ limit: 10_000, balance: 9_700 });
});

test("a project without a default plan gives nothing at registration", async () => {
  const other = await createDatabase();
  const user = await createUser(other);

  expect(await standing(other, user)).toEqual(NOBODY);
  await other.drop();
});

test("a fault of the books does not keep anybody from signing up, and is healed by the first read", async () => {
  const other = await createDatabase();
  await giveFreePlanAtRegistration(other);
  const healthy = (
    await other.admin.query("select pg_get_functiondef('tokenbook.start_period'::regproc) as definition")
  ).rows[0].definition;
  for (const fault of [
    "raise exception 'broken'",
    "perform 1 / 0",
    "perform * from public.no_such_table",
    "raise sqlstate 'PT503'",
    "perform 'x'::bigint",
  ]) {
    await other.admin.query(healthy.replace(/\nbegin\n/, `\nbegin\n  ${fault};\n`));
    const user = await createUser(other);
    expect(await standing(other, user), fault).toEqual(NOBODY);
    const { rows } = await other.admin.query(
      "select error from tokenbook.failed_registrations where user_id = $1",
      [user],
    );
    expect(rows, fault).toHaveLength(1);

    await other.admin.query(healthy);
    const balance = await asUser(other, user, (client) => rpc(client, "get_user_token_balance"));

    expect(balance, fault).toMatchObject({ total_active: 10_000, tokens_limit: 10_000, plan_type: "free" });
  }
  await other.drop();
});

test("no class of errors and no refusal of ours fails a sign-up, but that the server ends the statement", async () => {
  const other = await createDatabase();
  await giveFreePlanAtRegistration(other);
  const { rows: healthy } = await other.admin.query(
    "select pg_get_functiondef('tokenbook.start_period'::regproc) as definition",
  );
  const refusals = new Set(
    (await readFile("supabase/errors.toml", "utf8")).match(/(?<=^sqlstate = ")[^"]+/gm),
  );
  expect(refusals.size).toBeGreaterThan(5);
  const classes =
    "03000 08006 09000 0A000 0B000 0F000 0L000 0LP01 0P000 0Z000 20000 21000 22000 22012 23505 24000 25000 26000 27000 28000 2B000 2BP01 2D000 2F000 34000 38000 39000 3B000 3D000 3F000 40001 40P01 42P01 44000 53100 53300 54000 55P03 58000 58030 F0000 HV000 P0001 P0004 XX000 XX001";
  for (const code of [...refusals, ...classes.split(" ")]) {
    await other.admin.query(
      healthy[0].definition.replace(/\nbegin\n/, `\nbegin\n  raise exception using errcode = '${code}';\n`),
    );
    const user = await createUser(other);
    const { rows } = await other.admin.query(
      "select left(error, 5) as code from tokenbook.failed_registrations where user_id = $1",
      [user],
    );
    expect(rows, code).toEqual([{ code }]);
  }
  await other.drop();
});

test("a fault that cannot even be noted does not keep anybody from signing up", async () => {
  const other = await createDatabase();
  await giveFreePlanAtRegistration(other);
  await other.admin.query("drop table tokenbook.failed_registrations");
  await other.admin.query("alter table tokenbook.subscriptions rename to gone");

  const user = await createUser(other);

  await other.admin.query("alter table tokenbook.gone rename to subscriptions");
  const balance = await asUser(other, user, (client) => rpc(client, "get_user_token_balance"));
  expect(balance).toMatchObject({ total_active: 10_000 });
  await other.drop();
});

test("a sign-up waits two seconds for what an open transaction has changed, and is healed later", async () => {
  const changes = [
    "update public.token_plans set stripe_price_id = 'price_new' where plan_type = 'free'",
    "alter table public.token_balances add column note text",
  ];
  // each in a database of its own, so that both can be waited for at once
  await Promise.all(
    changes.map(async (change) => {
      const own = await createDatabase();
      await giveFreePlanAtRegistration(own);
      const other = await own.admin.connect();
      await other.query("begin");
      await other.query(change);
      const since = Date.now();
      const user = await createUser(own);
      expect(Date.now() - since, change).toBeLessThan(5_000);
      await other.query("rollback");
      other.release();
      const { rows } = await own.admin.query(
        "select left(error, 5) as code from tokenbook.failed_registrations where user_id = $1",
        [user],
      );
      expect(rows, change).toEqual([{ code: "55P03" }]);
      const balance = await asUser(own, user, (client) => rpc(client, "get_user_token_balance"));
      expect(balance, change).toMatchObject({ total_active: 10_000 });
      await own.drop();
    }),
  );
});

test("a user whom registration missed gets the plan by their first deduction too", async () => {
  const user = await withoutPlan();

  const receipt = await asUser(db, user, (client) =>
    rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 500 }),
  );

  expect(receipt).toMatchObject({ success: true, tokens_remaining: 9_500 });
  expect(await standing(db, user)).toMatchObject({ plan: "free", limit: 10_000 });
});

test("a user who never had a grant gets their plan's tokens exactly once from 40 concurrent first reads", async () => {
  const user = await withoutPlan();

  const outcome = await storm(db, {
    connections: 40,
    attempts: 400,
    run: async (client) => {
      const { rows } = await client.query(
        "select public.get_user_token_balance($1) ->> 'total_active' as total",
        [user],
      );
      return rows[0].total;
    },
  });

  const { rows } = await db.admin.query(
    "select count(*)::int as grants from public.token_balances where user_id = $1",
    [user],
  );
  console.log(`first reads: grants=${rows[0].grants} mix=${JSON.stringify(outcome.mix)}`);
  expect(outcome.mix).toEqual({ "10000": 400 });
  expect(rows[0].grants).toBe(1);
  await expectCleanBooks(db);
});

/** Reads and spends everything, again and again: what comes of it is what a user could use for nothing. */
async function spendEverything(database: Database, user: string, rounds: number): Promise<number> {
  let used = 0;
  for (let round = 0; round < rounds; round++) {
    const { total_active } = await asService(database, (client) =>
      rpc(client, "get_user_token_balance", { p_user_id: user }),
    );
    if (total_active === 0) continue;
    await asService(database, (client) =>
      rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: total_active }),
    );
    used += total_active;
  }
  return used;
}

test("a user who spent everything stays at zero", async () => {
  const user = await createUser(db);

  const used = await spendEverything(db, user, 5);

  expect(used).toBe(10_000);
  expect(await standing(db, user)).toMatchObject({ limit: 10_000, balance: 0 });
});

test(
  "the test sees it: refilling users who have nothing left refills for ever",
  { tags: ["proof"] },
  async () => {
    const broken = await createDatabase();
    await giveFreePlanAtRegistration(broken);
    await applyMutant(broken, "initial-plan-for-whoever-has-nothing-left");
    const user = await createUser(broken);

    const used = await spendEverything(broken, user, 5);
    await broken.drop();

    console.log(`mutant initial-plan-for-whoever-has-nothing-left: used=${used} of 10000`);
    expect(used).toBe(50_000);
  },
);

/** A user whom registration missed, as if they had signed up during a fault. */
async function withoutPlan(): Promise<string> {
  await db.admin.query("update public.token_plans set is_default = false where is_default");
  const user = await createUser(db);
  await giveFreePlanAtRegistration(db);
  return user;
}
