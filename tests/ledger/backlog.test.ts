import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { withGrants, withHolds } from "../support/accumulated.ts";
import { expectCleanBooks, grant } from "../support/books.ts";
import { createCallerFixture, openApi } from "../support/callers.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { asService, createUser, rpc } from "../support/roles.ts";
import { told } from "../support/provider-events.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

const call = (name: string, args: Record<string, unknown> = {}, of = db) =>
  asService(of, (client) => rpc(client, name, args));
const dueOf = async (user: string, of = db) => {
  const { rows } = await of.admin.query(
    "select count(*)::int as count from public.token_balances where user_id = $1 and is_open and expires_at <= now()",
    [user],
  );
  return rows[0].count as number;
};

describe("an account of which more is due than one call books", () => {
  test("is booked a portion a call, each of which is kept, and answers busy until nothing more than that is due", async () => {
    const user = await withGrants(db, 2_500, { due: true });
    await grantBeside(user, 40);
    const answers = [];
    for (let i = 0; i < 3; i++) {
      answers.push(await call("deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 10 }));
    }
    expect(answers.map(({ success, message }) => message ?? success)).toEqual(["busy", "busy", true]);
    expect(answers[0]).toEqual({
      success: false,
      code: "PT503",
      message: "busy",
      details: "{}",
      hint: expect.stringContaining("Try again with the same key."),
    });
    expect(answers[2].tokens_remaining).toBe(30);
    expect(await dueOf(user)).toBe(0);
    await expectCleanBooks(db);
  });

  test("is told its balance rightly meanwhile", async () => {
    const user = await withGrants(db, 2_500, { due: true });
    await grantBeside(user, 40);
    const balance = await call("get_user_token_balance", { p_user_id: user });
    expect(balance).toMatchObject({ total_active: 40, total_expired: 2_500 });
    expect(balance.grants).toHaveLength(1);
    expect(await dueOf(user)).toBe(1_500);
  });

  test("gets its holds back in portions too, and what they give back is there for every read", async () => {
    const user = await withHolds(db, 700, { due: true });
    expect(await call("get_user_token_balance", { p_user_id: user })).toMatchObject({
      total_active: 1_700,
      total_reserved: 0,
    });
    let calls = 1;
    while ((await call("reserve_tokens", { p_user_id: user, p_tokens: 1_700 })).message === "busy") calls++;
    expect(calls).toBe(3);
    await expectCleanBooks(db);
  });

  test("answers a webhook busy before anything of it is kept", async () => {
    const user = await withGrants(db, 1_500, { due: true });
    const event = {
      p_provider: "stripe",
      p_event_id: `evt-${user}`,
      p_event_type: "paid",
      p_provider_payment_id: `pi-${user}`,
      p_facts: told({ kind: "paid", user_id: user, plan_type: "annual", amount_cents: 900, currency: "usd" }),
    };
    expect((await call("record_token_payment_event", event)).message).toBe("busy");
    const { rows } = await db.admin.query("select from tokenbook.provider_events where event_id = $1", [
      event.p_event_id,
    ]);
    expect(rows).toEqual([]);
    expect(await call("record_token_payment_event", event)).toMatchObject({
      status: "approved",
      replayed: false,
    });
  });

  test("through the API it is the refusal itself: 503, Retry-After, the same body", async () => {
    const fixture = await createCallerFixture();
    const api = await openApi(fixture);
    try {
      const user = await withGrants(fixture.db, 1_500, { due: true });
      const answer = await api.ask("server", "rpc/deduct_tokens_with_fifo", {
        method: "POST",
        body: JSON.stringify({ p_user_id: user, p_tokens_to_deduct: 1 }),
      });
      expect(answer).toMatchObject({ status: 503, body: { code: "PT503", message: "busy", details: "{}" } });
      expect(answer.headers.get("retry-after")).toBe("1");
      expect(await dueOf(user, fixture.db)).toBe(500);
    } finally {
      await api.close();
      await fixture.close();
    }
  });

  /** What a function of the project's answers that writes, and calls ours of an account that is behind. */
  async function askTheirs(mutant?: string) {
    const fixture = await createCallerFixture();
    if (mutant !== undefined) await applyMutant(fixture.db, mutant);
    await fixture.db.admin.query(`
      create table public.app_orders (user_id uuid);
      create function public.app_order(p_user_id uuid) returns jsonb language plpgsql as $$
      begin
        insert into public.app_orders values (p_user_id);
        return public.deduct_tokens_with_fifo(p_user_id, 1);
      end $$;
      grant insert on public.app_orders to service_role;
      grant execute on function public.app_order to service_role`);
    const api = await openApi(fixture);
    try {
      const user = await withGrants(fixture.db, 1_500, { due: true });
      const { status, headers, body } = await api.ask("server", "rpc/app_order", {
        method: "POST",
        body: JSON.stringify({ p_user_id: user }),
      });
      const { rowCount } = await fixture.db.admin.query("select from public.app_orders");
      return { status, retryAfter: headers.get("retry-after"), body, orders: rowCount };
    } finally {
      await api.close();
      await fixture.close();
    }
  }

  test("a function of the project's own that called ours is told so, and says itself what its caller hears", async () => {
    expect(await askTheirs()).toMatchObject({
      status: 200,
      retryAfter: null,
      body: { success: false, code: "PT503", message: "busy" },
      orders: 1,
    });
  });

  test("the test sees it: 503 for what was written", { tags: ["proof"] }, async () => {
    expect(await askTheirs("busy-for-whoever-was-asked")).toMatchObject({ status: 503, orders: 1 });
  });

  describe("because more came back to grants that have run out than one call books", () => {
    /** A hold over 1,100 grants, all of which run out before it is released. */
    async function releasedTooLate(of: Database) {
      const user = await withGrants(of, 1_100, { due: false });
      const { hold_id } = await call(
        "reserve_tokens",
        { p_user_id: user, p_tokens: 1_100, p_ttl_seconds: 86_400 },
        of,
      );
      await of.admin.query(`update public.token_balances set expires_at = now() where user_id = $1`, [user]);
      const release = () => call("release_tokens", { p_user_id: user, p_hold_id: hold_id }, of);
      return { user, release };
    }

    test("is given them back, a portion runs out at once, and the rest is due", async () => {
      const { user, release } = await releasedTooLate(db);
      expect(await release()).toMatchObject({ success: true, status: "released" });
      expect(await dueOf(user)).toBe(100);
      expect(await call("get_user_token_balance", { p_user_id: user })).toMatchObject({ total_active: 0 });
      expect(await dueOf(user)).toBe(0);
    });

    test("the test sees it: a call that books them whole or not at all", async () => {
      const bad = await createDatabase();
      await applyMutant(bad, "late-returns-in-one-go");
      const { release } = await releasedTooLate(bad);
      await expect(release()).rejects.toMatchObject({ message: "busy" });
      await bad.drop();
    });
  });

  describe("in a batch", () => {
    const batch = (users: string[], all = false, of = db) =>
      call(
        "deduct_tokens_batch",
        { p_items: users.map((user_id) => ({ user_id, tokens: 1 })), p_all_or_nothing: all },
        of,
      );

    test.each([false, true])(
      "is busy by itself, and gets on all the same (all or nothing: %s)",
      async (all) => {
        const [behind, other] = [await withGrants(db, 1_500, { due: true }), await createUser(db)];
        await grant(db, other, 10);
        const { results } = await batch([behind, other], all);
        expect(results[0].error.code).toBe("busy");
        expect(results[1].success).toBe(!all);
        expect(await dueOf(behind)).toBe(500);
      },
    );

    test("the test sees it: a batch that books nothing of what is due", async () => {
      const bad = await createDatabase();
      await applyMutant(bad, "batches-leave-backlogs");
      const behind = await withGrants(bad, 1_500, { due: true });
      await batch([behind], false, bad);
      expect(await dueOf(behind, bad)).toBe(1_500);
      await bad.drop();
    });
  });
});

describe("an account whose books are damaged", () => {
  let damaged: Database;
  let poisoned: string;
  let others: string[];
  beforeEach(async () => {
    damaged = await createDatabase();
    poisoned = await withGrants(damaged, 2, { due: true });
    others = [await withGrants(damaged, 2, { due: true }), await withGrants(damaged, 2, { due: true })];
    // the number of the next entry is taken
    await damaged.admin.query(
      "update public.token_accounts set last_transaction_id = 1, next_due_at = now() - interval '1 day' where user_id = $1",
      [poisoned],
    );
    return () => damaged.drop();
  });

  test("keeps no other from being swept, and is left out for an hour", async () => {
    // the one that is set aside counts: there may be more behind it
    expect(await call("expire_old_token_grants", {}, damaged)).toBe(4 + 1);
    expect(await call("expire_old_token_grants", {}, damaged)).toBe(0);
    const { rows } = await damaged.admin.query("select user_id, reason from tokenbook.set_aside_accounts");
    expect(rows).toEqual([{ user_id: poisoned, reason: expect.stringMatching(/^23505 /) }]);
    await damaged.admin.query("update public.token_accounts set last_transaction_id = 2 where user_id = $1", [
      poisoned,
    ]);
    await damaged.admin.query(
      "update tokenbook.set_aside_accounts set set_aside_at = now() - interval '61 minutes'",
    );
    expect(await call("expire_old_token_grants", {}, damaged)).toBe(2);
    await expectCleanBooks(damaged);
  });

  test("keeps no other from the alerts of new rules", async () => {
    await call("set_token_alert_rule", { p_rule: "low", p_kind: "depleted", p_for_everyone: true }, damaged);
    await call("arm_token_alerts", {}, damaged);
    const { rows } = await damaged.admin.query(
      "select user_id from public.token_accounts where alerts_version = 1 order by user_id",
    );
    expect(rows.map(({ user_id }) => user_id)).toEqual(others.toSorted());
  });

  test("keeps no other item of a batch from being booked, and is named", async () => {
    const good = await createUser(damaged);
    await grant(damaged, good, 10);
    await damaged.admin.query(
      `update public.token_accounts set next_due_at = null, tokens_remaining = 2 where user_id = $1`,
      [poisoned],
    );
    await damaged.admin.query("update public.token_balances set expires_at = null where user_id = $1", [
      poisoned,
    ]);
    const { results } = await call(
      "deduct_tokens_batch",
      { p_items: [poisoned, good].map((user_id) => ({ user_id, tokens: 1 })) },
      damaged,
    );
    expect(results[0].error).toMatchObject({ code: "account_damaged", hint: expect.any(String) });
    expect(results[1]).toMatchObject({ success: true, tokens_remaining: 9 });
  });

  test("a sweep that goes on one by one books no more than a sweep may, and keeps what it has set aside", async () => {
    for (let i = 0; i < 3; i++) await withGrants(damaged, 1_000, { due: true });
    expect(await call("expire_old_token_grants", {}, damaged)).toBeLessThan(3_004);
    const { rows } = await damaged.admin.query("select count(*)::int as n from tokenbook.set_aside_accounts");
    expect(rows).toEqual([{ n: 1 }]);
    await applyMutant(damaged, "damaged-accounts-make-sweeps-endless");
    await damaged.admin.query(
      "update tokenbook.set_aside_accounts set set_aside_at = now() - interval '2 hours'",
    );
    for (let i = 0; i < 3; i++) await withGrants(damaged, 1_000, { due: true });
    expect(await call("expire_old_token_grants", {}, damaged)).toBeGreaterThan(3_000);
  });

  test("in a batch, and behind, it keeps no other item from being booked", async () => {
    const behind = await withGrants(damaged, 1_001, { due: true });
    const good = await createUser(damaged);
    await grant(damaged, good, 10);
    await damaged.admin.query("update public.token_accounts set last_transaction_id = 1 where user_id = $1", [
      behind,
    ]);
    const { results } = await call(
      "deduct_tokens_batch",
      { p_items: [good, behind].map((user_id) => ({ user_id, tokens: 1 })) },
      damaged,
    );
    expect([results[0].success, results[1].error.code]).toEqual([true, "busy"]);
  });

  test("the test sees it: a sweep that ends with it", async () => {
    await applyMutant(damaged, "damaged-accounts-stop-the-sweep");
    await expect(call("expire_old_token_grants", {}, damaged)).rejects.toMatchObject({ code: "23505" });
  });
});

test("a user whose records cannot be read is a finding, and keeps no other out of the report", async () => {
  const report = await createDatabase();
  try {
    const [unreadable, wrong] = [
      await withGrants(report, 2, { due: false }),
      await withGrants(report, 2, { due: false }),
    ];
    await report.admin.query("alter table public.token_transactions disable trigger user");
    await report.admin.query(
      `update public.token_transactions set entry_type = 'opening_balance', action_type = 'opening_balance',
              metadata = '{"tokens_used": "many", "total_cost": "much"}'
        where user_id = $1 and id = 1`,
      [unreadable],
    );
    await report.admin.query(
      "update public.token_accounts set tokens_used = 700, total_cost = 900 where user_id = $1",
      [wrong],
    );
    const find = async () =>
      (
        await report.admin.query(
          "select user_id, scenarios from public.find_token_discrepancies() where user_id = any ($1)",
          [[unreadable, wrong]],
        )
      ).rows as { user_id: string; scenarios: string[] }[];
    const found = await find();
    expect(found.map(({ user_id }) => user_id)).toEqual([wrong, unreadable]);
    expect(found[1]!.scenarios).toEqual(["unreadable"]);
    await applyMutant(report, "one-user-stops-the-report");
    await expect(find()).rejects.toMatchObject({ code: "22P02" });
  } finally {
    await report.drop();
  }
});

test("a user whose books cannot even be read is a breach, and keeps none of the others' from being named", async () => {
  const books = await createDatabase();
  try {
    const [unreadable, wrong] = [
      await withGrants(books, 2, { due: false }),
      await withGrants(books, 2, { due: false }),
    ];
    await books.admin.query("alter table public.token_transactions disable trigger user");
    await books.admin.query(
      `update public.token_transactions set terms = jsonb_set(terms, '{grants,0,id}', '"x"') where user_id = $1 and id = 1`,
      [unreadable],
    );
    await books.admin.query("update public.token_accounts set tokens_used = 700 where user_id = $1", [wrong]);
    const verify = async () =>
      (await books.admin.query("select user_id, invariant from public.verify_token_ledger() order by 2"))
        .rows;
    expect(await verify()).toEqual([
      { user_id: unreadable, invariant: "I3 the books can be read" },
      { user_id: wrong, invariant: "I3 tokens used" },
    ]);
    await applyMutant(books, "one-user-blinds-the-verifier");
    await expect(verify()).rejects.toMatchObject({ code: "22P02" });
  } finally {
    await books.drop();
  }
});

test("spending from more grants than one entry may name is refused with how much that is, and changes nothing", async () => {
  const user = await withGrants(db, 10_500, { due: false });
  const spend = (tokens: number) =>
    call("deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: tokens });
  await expect(spend(10_001)).rejects.toMatchObject({
    message: "too_many_grants",
    code: "PT409",
    detail: '{"limit": 10000}',
  });
  expect(await spend(10_000)).toMatchObject({ success: true, tokens_remaining: 500 });
  await expectCleanBooks(db);
});

/** A grant for ever, beside what is due, without touching that. */
async function grantBeside(user: string, tokens: number): Promise<void> {
  await db.admin.query(
    `with given as (
       insert into public.token_balances (user_id, grant_type, tokens_granted, tokens_remaining, granted_at, created_at)
       values ($1, 'purchase', $2, $2, now() - interval '2 hours', now() - interval '2 hours') returning id),
     account as (
       update public.token_accounts set tokens_remaining = tokens_remaining + $2, last_transaction_id = last_transaction_id + 1
        where user_id = $1 returning last_transaction_id, tokens_remaining)
     insert into public.token_transactions
       (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason, actor_role, created_at)
     select $1, a.last_transaction_id, 'grant', 'token_pack_purchase', $2, a.tokens_remaining, array[g.id], array[$2::bigint],
            'purchase grant', 'service', now() - interval '2 hours'
       from given g, account a`,
    [user, tokens],
  );
}
