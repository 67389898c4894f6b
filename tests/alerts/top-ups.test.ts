import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { asService, asUser, createUser, rpc } from "../support/roles.ts";
import { expectCleanBooks, grant } from "../support/books.ts";
import { applyMutant } from "../support/mutants.ts";
import { storm } from "../support/storm.ts";
import { alertBreaches, call, deduct, told } from "./alerts.ts";

let db: Database;
let user: string;
beforeAll(async () => {
  db = await createDatabase();
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

/** Switches it on as the user: below 50, buy 500. */
const enable = (more: Record<string, unknown> = {}, of = user, database = db) =>
  asUser(database, of, (client) =>
    rpc(client, "set_token_top_up", { p_user_id: of, p_below_tokens: 50, p_tokens: 500, ...more }),
  );

interface Request {
  id: string;
  status: string;
  tokens: number | null;
  plan_type: string | null;
}

async function requests(of = user, database = db): Promise<Request[]> {
  const { rows } = await database.admin.query(
    "select id, status, tokens::int, plan_type from public.token_top_up_requests where user_id = $1 order by created_at",
    [of],
  );
  return rows;
}

const settle = async (outcome: "done" | "failed") => {
  const pending = (await requests()).find(({ status }) => status === "pending")!;
  return await call(db, "settle_token_top_up", {
    p_user_id: user,
    p_request_id: pending.id,
    p_outcome: outcome,
  });
};

/** Lets so much time pass for what is stored. */
const pass = async (interval: string) => {
  await db.admin.query(
    `update public.token_top_up_requests set created_at = created_at - $2::interval, settled_at = settled_at - $2::interval where user_id = $1`,
    [user, interval],
  );
  await db.admin.query(
    `update public.token_accounts set next_due_at = next_due_at - $2::interval, next_alert_at = next_alert_at - $2::interval where user_id = $1`,
    [user, interval],
  );
};

test("a balance that falls below asks once, in the same commit, and charges nothing", async () => {
  expect(await enable()).toMatchObject({ success: true, is_enabled: true, pending_request_id: null });
  await deduct(db, user, 51);
  await deduct(db, user, 10);
  await deduct(db, user, 39);
  const asked = await requests();
  expect(asked).toMatchObject([{ status: "pending", tokens: 500, plan_type: null }]);
  expect(await told(db, user)).toEqual(["top_up_requested auto_top_up 49"]);
  const { rows } = await db.admin.query(
    "select request_id, payload from public.token_alerts where user_id = $1",
    [user],
  );
  expect(rows[0].request_id).toBe(asked[0]!.id);
  expect(rows[0].payload).toMatchObject({
    request_id: asked[0]!.id,
    tokens: 500,
    threshold_tokens: 50,
    tokens_remaining: 49,
  });
});

test("packs are asked for by name and number, and so says the alert", async () => {
  await db.admin.query(
    `insert into public.token_packs (pack_type, name, tokens, price_cents, is_offered)
     values ('small', 'Small', 100, 10, true), ('gone', 'Gone', 100, 10, false)`,
  );
  const ofPacks = (more: Record<string, unknown>) => enable({ p_tokens: undefined, ...more });
  const refused = { message: "invalid_top_up" };
  await expect(enable({ p_pack_type: "small" })).rejects.toMatchObject(refused);
  await expect(ofPacks({ p_pack_type: "small", p_plan_type: "starter" })).rejects.toMatchObject(refused);
  await expect(enable({ p_quantity: 2 })).rejects.toMatchObject(refused);
  for (const p_quantity of [0, -1, 1_001, null]) {
    await expect(ofPacks({ p_pack_type: "small", p_quantity })).rejects.toMatchObject({
      ...refused,
      detail: expect.stringContaining('"field": "p_quantity"'),
    });
  }
  for (const p_pack_type of ["gone", "none", "starter"]) {
    await expect(ofPacks({ p_pack_type })).rejects.toMatchObject({ message: "pack_not_found" });
  }

  const { top_up } = await ofPacks({ p_pack_type: "small", p_quantity: 3 });
  expect(top_up).toMatchObject({ tokens: null, plan_type: null, pack_type: "small", quantity: 3 });
  await deduct(db, user, 60);
  const { rows } = await db.admin.query(
    `select r.tokens, r.plan_type, r.pack_type, r.quantity, t.payload
       from public.token_top_up_requests r
       join public.token_alerts t on t.user_id = r.user_id and t.request_id = r.id
      where r.user_id = $1`,
    [user],
  );
  expect(rows).toEqual([
    {
      tokens: null,
      plan_type: null,
      pack_type: "small",
      quantity: 3,
      payload: expect.objectContaining({ top_up_pack_type: "small", top_up_quantity: 3 }),
    },
  ]);
  await settle("done");
  await ofPacks({ p_pack_type: undefined, p_tokens: 500 });
  expect((await requests()).at(-1)).toMatchObject({ status: "done" });
});

test("a user who is below the threshold when they switch it on gets a request at once", async () => {
  await deduct(db, user, 80);
  const { pending_request_id: id } = await enable({ p_tokens: undefined, p_plan_type: "starter" });
  expect(await requests()).toEqual([{ id, status: "pending", tokens: null, plan_type: "starter" }]);
});

test("the server grants and says done; the next fall asks again, after the cooldown", async () => {
  await enable({ p_cooldown_seconds: 600 });
  await deduct(db, user, 60);
  await grant(db, user, 500);
  expect(await settle("done")).toMatchObject({ status: "done", replayed: false });
  await deduct(db, user, 500); // 40: within the cooldown
  expect(await requests()).toHaveLength(1);
  await pass("9 minutes");
  await deduct(db, user, 1);
  expect(await requests()).toHaveLength(1);
  await pass("2 minutes");
  await call(db, "expire_old_token_grants"); // nobody touches the account: the sweeper does
  expect(await requests()).toMatchObject([{ status: "done" }, { status: "pending" }]);
});

test("no more than so many in a window", async () => {
  await enable({ p_cooldown_seconds: 30, p_max_requests: 2, p_window_seconds: 3600 });
  await deduct(db, user, 60);
  for (let i = 0; i < 5; i++) {
    if ((await requests()).some(({ status }) => status === "pending")) await settle("done");
    await pass("1 minute");
    await deduct(db, user, 1);
  }
  expect(await requests()).toHaveLength(2);
  await pass("1 hour");
  await deduct(db, user, 1);
  expect(await requests()).toHaveLength(3);
});

test("a charge that failed pauses it until the user sets it again", async () => {
  await enable({ p_cooldown_seconds: 30 });
  await deduct(db, user, 60);
  await settle("failed");
  await pass("1 day");
  await deduct(db, user, 10);
  await grant(db, user, 100);
  await deduct(db, user, 100);
  expect(await requests()).toMatchObject([{ status: "failed" }]);
  await enable({ p_cooldown_seconds: 30 });
  expect(await requests()).toMatchObject([{ status: "failed" }, { status: "pending" }]);
});

test("a charge that its user must confirm has failed, pauses it too, and says what to buy instead", async () => {
  await enable();
  await deduct(db, user, 60);
  const [{ id }] = (await requests()) as [Request];
  const settled = {
    p_user_id: user,
    p_request_id: id,
    p_outcome: "needs_action",
    p_reason: "authentication_required",
  };
  expect(await call(db, "settle_token_top_up", settled)).toMatchObject({ status: "failed", replayed: false });
  expect(await call(db, "settle_token_top_up", settled)).toMatchObject({ status: "failed", replayed: true });
  expect(await told(db, user)).toEqual([
    "top_up_requested auto_top_up 40",
    "top_up_needs_action auto_top_up 40",
  ]);
  const { rows } = await db.admin.query(
    "select payload from public.token_alerts where user_id = $1 and kind = 'top_up_needs_action'",
    [user],
  );
  expect(rows[0].payload).toMatchObject({ request_id: id, tokens: 500, reason: "authentication_required" });
});

const claim = (args: Record<string, unknown> = {}) =>
  asService(db, async (client) => {
    const { rows } = await client.query(
      "select request_id, attempt, fault from public.claim_token_top_ups($1, $2) where user_id = $3",
      [args["p_limit"] ?? 200, args["p_lease_seconds"] ?? 60, user],
    );
    return rows as { request_id: string; attempt: number; fault: string | null }[];
  });

test("a claim is one caller's until its lease ends, and each lease is twice as long", async () => {
  await enable();
  await deduct(db, user, 60);
  for (let attempt = 1; attempt <= 3; attempt++) {
    expect(await claim()).toMatchObject([{ attempt, fault: "no_price" }]);
    expect(await claim()).toEqual([]);
    const { rows } = await db.admin.query(
      `select round(extract(epoch from next_attempt_at - clock_timestamp()))::int as lease
         from public.token_top_up_requests where user_id = $1`,
      [user],
    );
    expect(rows[0].lease).toBe(60 * 2 ** (attempt - 1));
    await db.admin.query(
      "update public.token_top_up_requests set next_attempt_at = clock_timestamp() where user_id = $1",
      [user],
    );
  }
  await settle("done");
  expect(await claim()).toEqual([]);
});

test.each([
  [{ p_limit: 0 }, "p_limit"],
  [{ p_limit: 201 }, "p_limit"],
  [{ p_lease_seconds: 0 }, "p_lease_seconds"],
  [{ p_lease_seconds: 3_601 }, "p_lease_seconds"],
])("a claim of %j is refused", async (args, field) => {
  await expect(claim(args)).rejects.toMatchObject({
    message: "invalid_page",
    detail: expect.stringContaining(field),
  });
});

test("switched off, it asks for nothing; what is pending stays the server's to settle", async () => {
  await enable();
  await asUser(db, user, (client) =>
    rpc(client, "set_token_top_up", { p_user_id: user, p_is_enabled: false }),
  );
  await deduct(db, user, 100);
  expect(await requests()).toEqual([]);
});

test("a top-up is not requested when the same transaction brings the balance back up", async () => {
  await enable();
  await db.admin.query(
    `begin; select public.deduct_tokens_with_fifo('${user}', 100); select public.grant_tokens('${user}', 60, 'purchase'); commit`,
  );
  expect(await requests()).toEqual([]);
  expect(await told(db, user)).toEqual([]);
  await deduct(db, user, 11);
  expect(await requests()).toHaveLength(1);
  // an older request is not withdrawn by a grant
  await grant(db, user, 100);
  expect(await requests()).toMatchObject([{ status: "pending" }]);
});

test("a request is settled once, the same word again changes nothing", async () => {
  await enable();
  await deduct(db, user, 60);
  const [{ id }] = (await requests()) as [Request];
  const args = { p_user_id: user, p_request_id: id };
  expect(await call(db, "settle_token_top_up", { ...args, p_outcome: "done" })).toMatchObject({
    replayed: false,
  });
  expect(await call(db, "settle_token_top_up", { ...args, p_outcome: "done" })).toMatchObject({
    replayed: true,
  });
  for (const [more, message] of [
    [{ p_outcome: "failed" }, "top_up_already_settled"],
    [{ p_outcome: "pending" }, "invalid_top_up"],
    [{ p_outcome: null }, "invalid_top_up"],
    [{ p_outcome: "done", p_request_id: user }, "top_up_request_not_found"],
    [{ p_outcome: "done", p_reason: " " }, "invalid_reason"],
  ] as const) {
    await expect(call(db, "settle_token_top_up", { ...args, ...more }), message).rejects.toMatchObject({
      message,
    });
  }
  await expect(
    asUser(db, user, (client) => rpc(client, "settle_token_top_up", { ...args, p_outcome: "done" })),
  ).rejects.toMatchObject({ message: "forbidden" });
});

test.each([
  [{ p_below_tokens: 0 }, "invalid_top_up"],
  [{ p_below_tokens: null }, "invalid_top_up"],
  [{ p_tokens: null }, "invalid_top_up"],
  [{ p_tokens: 1e12 + 1 }, "invalid_top_up"],
  [{ p_plan_type: "starter" }, "invalid_top_up"],
  [{ p_tokens: null, p_plan_type: "nope" }, "plan_not_found"],
  [{ p_cooldown_seconds: 29 }, "invalid_top_up"],
  [{ p_max_requests: 0 }, "invalid_top_up"],
  [{ p_window_seconds: null }, "invalid_top_up"],
  [{ p_is_enabled: null }, "invalid_top_up"],
])("a top-up that cannot be is refused: %j", async (more, message) => {
  await expect(enable(more)).rejects.toMatchObject({ message });
});

/** 40 connections take one token each, 40 times over, through the threshold. */
async function crossAtOnce(database: Database) {
  const one = await createUser(database);
  await grant(database, one, 1_000);
  await enable({ p_below_tokens: 500, p_cooldown_seconds: 30 }, one, database);
  const { mix } = await storm(database, {
    connections: 40,
    attempts: 800,
    run: async (client) => {
      const { rows } = await client.query("select public.deduct_tokens_with_fifo($1, 1) as receipt", [one]);
      return rows[0].receipt.success ? "spent" : "short";
    },
  });
  return {
    mix,
    requests: (await requests(one, database)).length,
    alerts: (await told(database, one)).length,
  };
}

test("40 connections crossing at once make one request", async () => {
  const result = await crossAtOnce(db);
  console.log(`connections=40 ${JSON.stringify(result)}`);
  expect(result).toEqual({ mix: { spent: 800 }, requests: 1, alerts: 1 });
});

test("the test sees it: without its guards every deduction below asks", { tags: ["proof"] }, async () => {
  const broken = await createDatabase();
  await applyMutant(broken, "top-ups-without-guards");
  const result = await crossAtOnce(broken);
  await broken.drop();
  console.log(`without guards: ${JSON.stringify(result)}`);
  expect(result.requests).toBeGreaterThan(1);
});

test("users read their own top-up and requests, and nobody else's", async () => {
  await enable();
  await deduct(db, user, 60);
  const stranger = await createUser(db);
  for (const table of ["token_top_ups", "token_top_up_requests"]) {
    const read = (of: string) => asUser(db, of, (client) => client.query(`select from public.${table}`));
    expect((await read(user)).rowCount, table).toBe(1);
    expect((await read(stranger)).rowCount, table).toBe(0);
  }
  await expect(
    enable({}, stranger).then(() =>
      asUser(db, stranger, (client) =>
        rpc(client, "set_token_top_up", { p_user_id: user, p_is_enabled: false }),
      ),
    ),
  ).rejects.toMatchObject({ message: "forbidden" });
});
