import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createDatabase, type Database } from "../../support/database.ts";
import { asUser, createUser, rpc } from "../../support/roles.ts";
import { letTimePass } from "../../support/time.ts";
import { expectCleanBooks, grant } from "../../support/books.ts";
import { alertBreaches, call, deduct, setRule, told } from "../alerts.ts";

let db: Database;
let user: string;
beforeAll(async () => {
  db = await createDatabase();
  await setRule(db, { rule: "low", kind: "dropped", threshold_tokens: 50, notify_recovered: true });
  await setRule(db, { rule: "very_low", kind: "dropped", threshold_tokens: 20 });
  await setRule(db, { rule: "empty", kind: "depleted" });
});
beforeEach(async () => {
  user = await createUser(db);
  await grant(db, user, 100);
});
afterAll(async () => {
  expect(await alertBreaches(db)).toEqual([]);
  await expectCleanBooks(db);
  await db.drop();
});

test("a balance at its threshold is not below it; one token less is told once", async () => {
  await deduct(db, user, 50);
  expect(await told(db, user)).toEqual([]);
  await deduct(db, user, 1);
  await deduct(db, user, 1);
  await deduct(db, user, 10);
  expect(await told(db, user)).toEqual(["dropped low 49"]);
});

test("one deduction through several thresholds tells each, in the order in which they were passed", async () => {
  await deduct(db, user, 100);
  expect(await told(db, user)).toEqual(["dropped low 0", "dropped very_low 0", "depleted empty 0"]);
});

test("a recovery is told where it is asked for, and the next drop is told again", async () => {
  await deduct(db, user, 90);
  await grant(db, user, 100);
  await deduct(db, user, 70);
  expect(await told(db, user)).toEqual([
    "dropped low 10",
    "dropped very_low 10",
    "recovered low 110",
    "dropped low 40",
  ]);
});

test("the account row names the newest alert in the commit that raises it, and the user reads it", async () => {
  const before = await asUser(db, user, (client) =>
    client.query("select last_alert_id from public.token_accounts"),
  );
  const seen = await asUser(db, user, async (client) => {
    await rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 60 });
    const account = await client.query(
      "select last_alert_id, last_transaction_id from public.token_accounts",
    );
    const alerts = await client.query("select id, kind, payload from public.token_alerts");
    return { account: account.rows, alerts: alerts.rows };
  });
  expect(before.rows).toEqual([{ last_alert_id: "0" }]);
  expect(seen.account).toEqual([{ last_alert_id: "1", last_transaction_id: "2" }]);
  expect(seen.alerts).toEqual([
    {
      id: "1",
      kind: "dropped",
      payload: {
        tokens_remaining: 40,
        tokens_limit: null,
        plan_type: null,
        transaction_id: 2,
        threshold_tokens: 50,
      },
    },
  ]);
  const stranger = await createUser(db);
  const foreign = await asUser(db, stranger, (client) => client.query("select from public.token_alerts"));
  expect(foreign.rows).toEqual([]);
});

test("a crossing that is rolled back raises no alert, and one that commits does", async () => {
  await expect(
    asUser(db, user, async (client) => {
      await rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 60 });
      throw new Error("changed my mind");
    }),
  ).rejects.toThrow("changed my mind");
  expect(await told(db, user)).toEqual([]);
  await asUser(db, user, async (client) => {
    await client.query("savepoint s");
    await rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 60 });
    await client.query("rollback to s");
  });
  expect(await told(db, user)).toEqual([]);
  await deduct(db, user, 60);
  expect(await told(db, user)).toEqual(["dropped low 40"]);
});

test("a crossing that the same transaction takes back never happened, in either direction", async () => {
  await db.admin.query(
    `begin;
     select public.deduct_tokens_with_fifo('${user}', 60);
     select public.grant_tokens('${user}', 30, 'purchase');
     commit`,
  );
  expect(await told(db, user)).toEqual([]);
  await deduct(db, user, 30);
  await db.admin.query(
    `begin;
     select public.grant_tokens('${user}', 60, 'purchase');
     select public.deduct_tokens_with_fifo('${user}', 61);
     commit`,
  );
  expect(await told(db, user)).toEqual(["dropped low 40"]);
  await grant(db, user, 11);
  expect(await told(db, user)).toEqual(["dropped low 40", "recovered low 50"]);
});

test("the same in different transactions is two crossings", async () => {
  await deduct(db, user, 60);
  await grant(db, user, 60);
  await deduct(db, user, 60);
  await grant(db, user, 60);
  expect(await told(db, user)).toEqual([
    "dropped low 40",
    "recovered low 100",
    "dropped low 40",
    "recovered low 100",
  ]);
});

test("a grant that repays a debt is judged by what it leaves", async () => {
  const extra = await grant(db, user, 80);
  await deduct(db, user, 180);
  await call(db, "void_token_grant", {
    p_user_id: user,
    p_grant_id: extra,
    p_reason: "x",
    p_take_back: true,
  });
  const before = await told(db, user);
  await grant(db, user, 90);
  expect(await told(db, user)).toEqual(before);
  const { rows } = await db.admin.query(
    "select tokens_remaining::int as left, tokens_owed::int as owed from public.token_accounts where user_id = $1",
    [user],
  );
  expect(rows).toEqual([{ left: 10, owed: 0 }]);
});

test("a hold takes a balance below, its release brings it back", async () => {
  const hold = await call(db, "reserve_tokens", { p_user_id: user, p_tokens: 60 });
  await call(db, "release_tokens", { p_user_id: user, p_hold_id: hold.hold_id });
  expect(await told(db, user)).toEqual(["dropped low 40", "recovered low 100"]);
});

test("a refund and an adjustment are changes like any other", async () => {
  const receipt = await call(db, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 60 });
  await call(db, "refund_tokens", {
    p_user_id: user,
    p_transaction_id: receipt.transaction_id,
    p_reason: "x",
  });
  await call(db, "adjust_tokens", { p_user_id: user, p_delta: -81 });
  expect(await told(db, user)).toEqual([
    "dropped low 40",
    "recovered low 100",
    "dropped low 19",
    "dropped very_low 19",
  ]);
});

test("a clawback and a voided grant are too", async () => {
  const extra = await grant(db, user, 100);
  await deduct(db, user, 100);
  await call(db, "void_token_grant", {
    p_user_id: user,
    p_grant_id: extra,
    p_reason: "x",
    p_take_back: true,
  });
  expect(await told(db, user)).toEqual(["dropped low 0", "dropped very_low 0", "depleted empty 0"]);
});

test("an expiry is told by the call that books it: the sweeper, a balance read, a deduction", async () => {
  const users = await Promise.all([1, 2, 3].map(() => createUser(db)));
  for (const one of users) {
    await grant(db, one, 100, { type: "trial", expires_in: "1 hour" });
    await grant(db, one, 30);
  }
  for (const one of users) await letTimePass(db, one, 1);
  await call(db, "get_user_token_balance", { p_user_id: users[0] });
  await deduct(db, users[1]!, 5);
  await call(db, "expire_old_token_grants");
  expect(await told(db, users[0]!)).toEqual(["dropped low 30"]);
  expect(await told(db, users[1]!)).toEqual(["dropped low 30"]); // when it expired; 25 afterwards
  expect(await told(db, users[2]!)).toEqual(["dropped low 30"]);
});

test("a renewal that finds the old period's tokens expired tells of neither end", async () => {
  await db.admin.query(
    `begin;
     select tokenbook.record_expiries(array['${user}'::uuid], now());
     select public.deduct_tokens_with_fifo('${user}', 100);
     select public.grant_tokens('${user}', 200, 'plan');
     commit`,
  );
  expect(await told(db, user)).toEqual([]);
});

test("a deduction that fails short tells nothing", async () => {
  const receipt = await call(db, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 101 });
  expect(receipt.success).toBe(false);
  expect(await told(db, user)).toEqual([]);
});

test("a replay tells nothing again", async () => {
  for (let i = 0; i < 3; i++) {
    await call(db, "deduct_tokens_with_fifo", {
      p_user_id: user,
      p_tokens_to_deduct: 60,
      p_idempotency_key: "once",
    });
  }
  expect(await told(db, user)).toEqual(["dropped low 40"]);
});
