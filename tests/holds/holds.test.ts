import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { expectCleanBooks, grant } from "../support/books.ts";
import { applyMutant } from "../support/mutants.ts";
import { asAdmin, asService, asUser, createUser, rpc } from "../support/roles.ts";
import { storm } from "../support/storm.ts";
import { letTimePass } from "../support/time.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

const call = (name: string, args: Record<string, unknown>, database = db) =>
  asService(database, (client) => rpc(client, name, args));
const balanceOf = (user: string, database = db) =>
  call("get_user_token_balance", { p_user_id: user }, database);
const verify = async () => (await db.admin.query("select * from public.verify_token_ledger()")).rows;

test("a hold takes from the grants in burn order at once and remembers which", async () => {
  const user = await createUser(db);
  const [first, second] = [await grant(db, user, 50), await grant(db, user, 100)];

  const receipt = await call("reserve_tokens", { p_user_id: user, p_tokens: 70, p_ttl_seconds: 60 });

  expect(receipt).toMatchObject({
    success: true,
    status: "open",
    tokens_reserved: 70,
    tokens_remaining: 80,
    reserved_from: [
      { grant_id: first, deducted: 50 },
      { grant_id: second, deducted: 20 },
    ],
  });
  expect(Date.parse(receipt.expires_at) - Date.now()).toBeGreaterThan(58_000);
  expect(await balanceOf(user)).toMatchObject({ total_active: 80, total_reserved: 70 });
});

test("the rest of a capture goes back to the grants, last taken first", async () => {
  const user = await createUser(db);
  const [first, second] = [await grant(db, user, 50), await grant(db, user, 100)];
  const { hold_id } = await call("reserve_tokens", { p_user_id: user, p_tokens: 70 });

  const receipt = await call("capture_tokens", { p_user_id: user, p_hold_id: hold_id, p_tokens: 40 });

  expect(receipt).toMatchObject({
    success: true,
    tokens_captured: 40,
    tokens_released: 30,
    deducted_from: [{ grant_id: first, deducted: 40 }],
  });
  expect((await balanceOf(user)).grants).toMatchObject([
    { id: first, tokens_remaining: 10 },
    { id: second, tokens_remaining: 100 },
  ]);
});

test("hold, capture, usage row and ledger entry are one transaction", async () => {
  const user = await createUser(db);
  await grant(db, user, 1_000);
  const { hold_id } = await call("reserve_tokens", {
    p_user_id: user,
    p_tokens: 500,
    p_action_type: "vision_generation",
  });

  const receipt = await call("capture_tokens", {
    p_user_id: user,
    p_hold_id: hold_id,
    p_model_used: "gpt-4",
    p_input_tokens: 100,
    p_output_tokens: 220,
    p_metadata: { request_id: "r" },
  });

  expect(receipt).toMatchObject({ success: true, tokens_captured: 320, tokens_remaining: 680 });
  const explained = await call("explain_token_charge", { p_user_id: user, p_usage_id: receipt.usage_id });
  expect(explained).toMatchObject({
    usage: { action_type: "vision_generation", tokens_used: 320, success: true },
    transaction: { id: receipt.transaction_id, tokens: -320, hold_id },
    paid_by: [{ tokens: 320 }],
  });
});

test("a source grant that runs out during the hold is honoured, and what is released into it expires at once", async () => {
  const user = await createUser(db);
  await grant(db, user, 100, { type: "trial", expires_in: "1 hour" });
  await grant(db, user, 1_000);
  const { hold_id } = await call("reserve_tokens", { p_user_id: user, p_tokens: 100, p_ttl_seconds: 86_400 });
  await letTimePass(db, user, 0.5);
  expect(await balanceOf(user)).toMatchObject({ total_active: 1_000, total_reserved: 100, total_expired: 0 });

  const receipt = await call("capture_tokens", { p_user_id: user, p_hold_id: hold_id, p_tokens: 60 });

  expect(receipt).toMatchObject({ tokens_captured: 60, tokens_released: 40, tokens_remaining: 1_000 });
  expect(await balanceOf(user)).toMatchObject({ total_active: 1_000, total_reserved: 0, total_expired: 40 });
  const history = await call("get_token_history", { p_user_id: user, p_limit: 3 });
  expect(history.transactions.map((t: { entry_type: string }) => t.entry_type)).toEqual([
    "expiry",
    "release",
    "deduction",
  ]);
  expect(await verify()).toEqual([]);
});

test("a hold that ran out is spendable again by the next call, without any job", async () => {
  const user = await createUser(db);
  await grant(db, user, 100);
  await call("reserve_tokens", { p_user_id: user, p_tokens: 100 });
  expect((await call("deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 1 })).success).toBe(
    false,
  );
  await letTimePass(db, user, 1);

  const receipt = await call("deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 100 });

  expect(receipt).toMatchObject({ success: true, tokens_remaining: 0 });
  await expectCleanBooks(db);
});

test("a balance that is read while another works on the account counts what has run out", async () => {
  const user = await createUser(db);
  await grant(db, user, 100);
  await call("reserve_tokens", { p_user_id: user, p_tokens: 60 });
  await letTimePass(db, user, 1);
  const locker = await db.admin.connect();
  await locker.query("begin");
  await locker.query("select from public.token_accounts where user_id = $1 for update", [user]);

  const balance = await balanceOf(user);
  await locker.query("rollback");
  locker.release();

  expect(balance).toMatchObject({ total_active: 100, total_reserved: 0, total_expired: 0 });
});

test("what a hold gives back when it runs out repays a debt first", async () => {
  const user = await createUser(db);
  await grant(db, user, 80);
  await call("reserve_tokens", { p_user_id: user, p_tokens: 80 });
  const mistake = await grant(db, user, 100);
  await call("deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 100 });
  const voided = await call("void_token_grant", { p_user_id: user, p_grant_id: mistake, p_take_back: true });
  expect(voided).toMatchObject({ tokens_voided: 0, tokens_owed: 100 });
  await letTimePass(db, user, 1);

  expect(await balanceOf(user)).toMatchObject({ total_active: 0, total_owed: 20, total_reserved: 0 });
  expect(await verify()).toEqual([]);
});

test("what a hold gives back to a grant that was taken back is gone, and nobody owes it", async () => {
  const user = await createUser(db);
  const mistake = await grant(db, user, 100);
  await call("reserve_tokens", { p_user_id: user, p_tokens: 80 });
  const voided = await call("void_token_grant", { p_user_id: user, p_grant_id: mistake, p_take_back: true });
  expect(voided).toMatchObject({ tokens_voided: 20, tokens_owed: 0 });
  await grant(db, user, 500);
  await letTimePass(db, user, 1);

  expect(await balanceOf(user)).toMatchObject({ total_active: 500, total_reserved: 0, total_expired: 80 });
  expect(await verify()).toEqual([]);
});

test.each([{}, { p_ttl_seconds: null }])(
  "a hold lives as long as the limits say when %j says nothing",
  async (said) => {
    const user = await createUser(db);
    await grant(db, user, 10);
    const { hold_id } = await call("reserve_tokens", { p_user_id: user, p_tokens: 1, ...said });
    const { rows } = await db.admin.query(
      `select extract(epoch from h.expires_at - h.created_at)::int = (tokenbook.limits() -> 'hold_seconds')::int as as_said
       from public.token_holds h where h.user_id = $1 and h.id = $2`,
      [user, hold_id],
    );
    expect(rows).toEqual([{ as_said: true }]);
  },
);

test.each([0, -1, 86_401])("a time to live of %s seconds is refused", async (ttl) => {
  const user = await createUser(db);
  await grant(db, user, 10);
  await expect(
    call("reserve_tokens", { p_user_id: user, p_tokens: 1, p_ttl_seconds: ttl }),
  ).rejects.toMatchObject({ code: "PT400", message: "invalid_ttl" });
});

test("short of tokens a hold changes nothing and says the shortfall", async () => {
  const user = await createUser(db);
  await grant(db, user, 10);

  expect(await call("reserve_tokens", { p_user_id: user, p_tokens: 25 })).toMatchObject({
    success: false,
    hold_id: null,
    tokens_reserved: 0,
    tokens_remaining_to_deduct: 15,
    tokens_remaining: 10,
  });
  expect((await db.admin.query("select from public.token_holds where user_id = $1", [user])).rowCount).toBe(
    0,
  );
});

test("a user settles their own holds and not those that the server made for them", async () => {
  const user = await createUser(db);
  const admin = await createUser(db, { admin: true });
  await grant(db, user, 100);
  const own = await asUser(db, user, (c) => rpc(c, "reserve_tokens", { p_user_id: user, p_tokens: 10 }));
  const servers = await call("reserve_tokens", { p_user_id: user, p_tokens: 10 });

  for (const name of ["release_tokens", "capture_tokens"])
    await expect(
      asUser(db, user, (c) => rpc(c, name, { p_user_id: user, p_hold_id: servers.hold_id })),
    ).rejects.toMatchObject({ code: "42501", message: "forbidden" });
  expect(
    await asUser(db, user, (c) => rpc(c, "release_tokens", { p_user_id: user, p_hold_id: own.hold_id })),
  ).toMatchObject({ success: true, status: "released" });
  expect(
    await asAdmin(db, admin, (c) =>
      rpc(c, "release_tokens", { p_user_id: user, p_hold_id: servers.hold_id }),
    ),
  ).toMatchObject({ success: true, status: "released" });
});

test("the test sees it: users-settle-the-servers-holds", { tags: ["proof"] }, async () => {
  const broken = await createDatabase();
  await applyMutant(broken, "users-settle-the-servers-holds");
  const user = await createUser(broken);
  await grant(broken, user, 100);
  const { hold_id } = await call("reserve_tokens", { p_user_id: user, p_tokens: 10 }, broken);

  const receipt = await asUser(broken, user, (c) =>
    rpc(c, "release_tokens", { p_user_id: user, p_hold_id: hold_id }),
  );

  expect(receipt).toMatchObject({ success: true });
  await broken.drop();
});

/** In how many minutes an account is due, after each of: a hold of 10 minutes, one of 20, the first captured, the second released. */
async function minutesUntilDue(on: Database, grantLivesMinutes?: number): Promise<(number | null)[]> {
  const user = await createUser(on);
  const until =
    grantLivesMinutes === undefined ? null : new Date(Date.now() + grantLivesMinutes * 60_000).toISOString();
  await call(
    "grant_tokens",
    { p_user_id: user, p_tokens: 100, p_grant_type: "purchase", p_expires_at: until },
    on,
  );
  const due: (number | null)[] = [];
  const look = async () => {
    const { rows } = await on.admin.query(
      "select round(extract(epoch from next_due_at - now()) / 60)::int as minutes from public.token_accounts where user_id = $1",
      [user],
    );
    due.push(rows[0].minutes);
  };
  const hold = (minutes: number) =>
    call("reserve_tokens", { p_user_id: user, p_tokens: 10, p_ttl_seconds: 60 * minutes }, on);
  const first = await hold(10);
  await look();
  const second = await hold(20);
  await look();
  await call("capture_tokens", { p_user_id: user, p_hold_id: first.hold_id, p_tokens: 4 }, on);
  await look();
  await call("release_tokens", { p_user_id: user, p_hold_id: second.hold_id }, on);
  await look();
  return due;
}

test("an account whose holds are settled is due when something else of it is, or not at all", async () => {
  expect(await minutesUntilDue(db)).toEqual([10, 10, 20, null]);
  expect(await minutesUntilDue(db, 30)).toEqual([10, 10, 20, 30]);
  expect(await minutesUntilDue(db, 15)).toEqual([10, 10, 15, 15]);
});

test("the test sees it: settled-holds-stay-due", { tags: ["proof"] }, async () => {
  const broken = await createDatabase();
  await applyMutant(broken, "settled-holds-stay-due");

  expect(await minutesUntilDue(broken)).toEqual([10, 10, 10, 10]);
  await broken.drop();
});

test("another user's hold is not found, by any caller that names its own user", async () => {
  const [user, other] = [await createUser(db), await createUser(db)];
  await grant(db, user, 10);
  await grant(db, other, 10);
  const { hold_id } = await call("reserve_tokens", { p_user_id: other, p_tokens: 5 });

  await expect(call("capture_tokens", { p_user_id: user, p_hold_id: hold_id })).rejects.toMatchObject({
    code: "PT404",
    message: "hold_not_found",
  });
});

test(
  "1,000 holds, two captures of each at once: one effect each",
  { tags: ["proof"], timeout: 60_000 },
  async () => {
    const user = await createUser(db);
    await grant(db, user, 100_000);
    await db.admin.query("select public.set_token_limit('open_holds', 1000)");
    const holds: string[] = [];
    for (let i = 0; i < 1_000; i++) {
      const { rows } = await db.admin.query("select public.reserve_tokens($1, 10) as r", [user]);
      holds.push(rows[0].r.hold_id);
    }

    const { mix } = await storm(db, {
      connections: 20,
      attempts: 2_000,
      run: async (client, attempt) => {
        const { rows } = await client.query("select public.capture_tokens($1, $2, $3) as r", [
          user,
          holds[attempt >> 1],
          attempt % 2 === 0 ? 4 : 7,
        ]);
        return rows[0].r.replayed ? "replayed" : `captured ${rows[0].r.tokens_captured}`;
      },
    });

    const captured = (mix["captured 4"] ?? 0) + (mix["captured 7"] ?? 0);
    console.log(`double captures: holds=1000 effects=${captured} mix=${JSON.stringify(mix)}`);
    expect([captured, mix["replayed"]]).toEqual([1_000, 1_000]);
    expect((await balanceOf(user)).total_active).toBe(
      100_000 - 4 * (mix["captured 4"] ?? 0) - 7 * (mix["captured 7"] ?? 0),
    );
    expect(await verify()).toEqual([]);
  },
);

test("capture against release, at once: one of them wins and both say which", async () => {
  const user = await createUser(db);
  await grant(db, user, 100_000);
  const holds: string[] = [];
  for (let i = 0; i < 200; i++)
    holds.push((await db.admin.query("select public.reserve_tokens($1, 10) as r", [user])).rows[0].r.hold_id);

  const { mix } = await storm(db, {
    connections: 20,
    attempts: 400,
    run: async (client, attempt) => {
      const name = attempt % 2 === 0 ? "capture_tokens" : "release_tokens";
      const { rows } = await client.query(`select public.${name}($1, $2) as r`, [user, holds[attempt >> 1]]);
      return `${rows[0].r.replayed ? "saw" : "made"} ${rows[0].r.status}`;
    },
  });

  expect((mix["made captured"] ?? 0) + (mix["made released"] ?? 0)).toBe(200);
  expect(mix["saw captured"] ?? 0).toBe(mix["made captured"] ?? 0);
  expect(await verify()).toEqual([]);
});

test(
  "the test sees it: captures that look before they lock have two effects",
  { tags: ["proof"] },
  async () => {
    const broken = await createDatabase();
    await applyMutant(broken, "holds-looked-at-before-the-lock");
    const user = await createUser(broken);
    await grant(broken, user, 10_000);
    const holds: string[] = [];
    for (let i = 0; i < 100; i++)
      holds.push(
        (await broken.admin.query("select public.reserve_tokens($1, 10) as r", [user])).rows[0].r.hold_id,
      );

    const { mix } = await storm(broken, {
      connections: 20,
      attempts: 200,
      run: async (client, attempt) => {
        const { rows } = await client.query("select public.capture_tokens($1, $2, 4) as r", [
          user,
          holds[attempt >> 1],
        ]);
        return rows[0].r.replayed ? "replayed" : "effect";
      },
    });
    await broken.drop();

    console.log(`mutant holds-looked-at-before-the-lock: holds=100 mix=${JSON.stringify(mix)}`);
    expect(mix).not.toEqual({ effect: 100, replayed: 100 });
  },
);
