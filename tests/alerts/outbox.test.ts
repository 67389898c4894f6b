import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { asService, createUser } from "../support/roles.ts";
import { grant } from "../support/books.ts";
import { storm } from "../support/storm.ts";
import { call, deduct, setRule } from "./alerts.ts";

let db: Database;
let user: string;
beforeAll(async () => {
  db = await createDatabase();
  await setRule(db, { rule: "low", kind: "dropped", threshold_tokens: 50 });
});
beforeEach(async () => {
  await db.admin.query("delete from public.token_alerts");
  user = await createUser(db);
  await grant(db, user, 100);
  await deduct(db, user, 60);
});
afterAll(() => db.drop());

interface Claimed {
  user_id: string;
  alert_id: string;
  claim_id: string;
  attempt: number;
}

const claim = (limit: number | null = 20, lease: number | null = 60) =>
  asService(db, (client) =>
    client.query<Claimed>("select * from public.claim_token_alerts($1, $2)", [limit, lease]),
  ).then(({ rows }) => rows);

const settle = ({ user_id, alert_id, claim_id }: Claimed, error?: string) =>
  call(db, "settle_token_alert", {
    p_user_id: user_id,
    p_alert_id: alert_id,
    p_claim_id: claim_id,
    ...(error && { p_error: error }),
  });

const set = (change: string) => db.admin.query(`update public.token_alerts set ${change}`);

test("an alert is handed to one at a time, and to the next when the lease ends", async () => {
  const [first] = await claim();
  expect(first).toMatchObject({ user_id: user, attempt: 1 });
  expect(await claim()).toEqual([]);
  await set("next_attempt_at = clock_timestamp()");
  const [second] = await claim();
  expect(second).toMatchObject({ attempt: 2 });

  // the first was slow, not dead: that it failed is no longer its to say, that it delivered is
  expect(await settle(first!, "HTTP 500")).toMatchObject({ delivery: "pending", attempts: 2 });
  expect(await settle(first!)).toMatchObject({ delivery: "delivered", next_attempt_at: null });
  expect(await settle(second!, "HTTP 500")).toMatchObject({ delivery: "delivered" });
  expect(await claim()).toEqual([]);
});

test("what was begun ten times without an answer, or is three days old, is given up in the open", async () => {
  await set("attempts = 10");
  expect(await claim()).toEqual([]);
  const read = async () =>
    (
      await db.admin.query(
        "select delivery, last_error, settled_at is not null as settled from public.token_alerts",
      )
    ).rows;
  expect(await read()).toEqual([{ delivery: "given_up", last_error: "no answer", settled: true }]);
  expect(await call(db, "retry_token_alerts", { p_for_everyone: true })).toBe(1);
  expect(await claim()).toHaveLength(1);

  await set(
    "created_at = created_at - interval '73 hours', next_attempt_at = created_at, attempts = 0, last_error = null",
  );
  expect(await claim()).toEqual([]);
  expect(await read()).toEqual([{ delivery: "given_up", last_error: "too old", settled: true }]);
  expect(await call(db, "retry_token_alerts", { p_for_everyone: true })).toBe(0); // old news is none
});

test("40 connections that claim 400 alerts get each of them once", async () => {
  await db.admin.query(
    `insert into public.token_alerts (user_id, id, kind, rule, epoch, payload, created_at, next_attempt_at)
     select gen_random_uuid(), 1, 'dropped', 'low', 1, '{}', now(), now() from generate_series(1, 399)`,
  );
  const seen = new Map<string, number>();
  const { mix } = await storm(db, {
    connections: 40,
    attempts: 200,
    run: async (client) => {
      const { rows } = await client.query<Claimed>("select * from public.claim_token_alerts(7)");
      for (const { user_id: of } of rows) seen.set(of, (seen.get(of) ?? 0) + 1);
      return rows.length > 0 ? "some" : "none";
    },
  });
  console.log(`alerts=${seen.size} most=${Math.max(...seen.values())} mix=${JSON.stringify(mix)}`);
  expect(seen.size).toBe(400);
  expect(Math.max(...seen.values())).toBe(1);
});

test("an error is kept in 200 characters, and what is not there is said to be nothing", async () => {
  const [claimed] = await claim();
  await settle(claimed!, "x".repeat(1_000));
  const { rows } = await db.admin.query("select length(last_error) as length from public.token_alerts");
  expect(rows).toEqual([{ length: 200 }]);
  const nothing = { user_id: user, alert_id: "99", claim_id: randomUUID(), attempt: 1 };
  expect(await settle(nothing)).toMatchObject({ delivery: null });
});

test("alerts are claimed 1 to 200 at a time, for 1 to 3600 seconds", async () => {
  for (const [limit, lease] of [
    [0, 60],
    [201, 60],
    [null, 60],
    [1, 0],
    [1, 3601],
    [1, null],
  ] as const) {
    await expect(claim(limit, lease), `${limit}, ${lease}`).rejects.toMatchObject({
      message: "invalid_page",
    });
  }
});

test("a deduction is never kept waiting, or from happening, by the outbox", async () => {
  const other = await createUser(db);
  await grant(db, other, 100);
  const sender = await db.admin.connect();
  await sender.query("begin");
  await sender.query("select from public.token_alerts for update");
  await deduct(db, user, 10);
  await deduct(db, other, 60);
  await sender.query("rollback");
  sender.release();
  // a crossing that is in the outbox already, whyever: not written again, and no error
  await db.admin.query(
    "update tokenbook.token_alert_states set is_below = false, epoch = epoch - 1 where user_id = $1",
    [user],
  );
  await db.admin.query(
    "update public.token_accounts set alert_below = 50, alert_above = null where user_id = $1",
    [user],
  );
  await deduct(db, user, 10);
  const { rows } = await db.admin.query(
    "select count(*)::int as n from public.token_alerts where user_id = $1",
    [user],
  );
  expect(rows).toEqual([{ n: 1 }]);
});
