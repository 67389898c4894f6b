/** A user's row of token_accounts is gone while the rest of the books is there, as after a partial restore. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { grant } from "../support/books.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { asService, asUser, createUser, rpc } from "../support/roles.ts";
import { letTimePass } from "../support/time.ts";
import { told } from "../support/provider-events.ts";

let db: Database;
let user: string;
let hold: string;
let grantId: string;
beforeAll(async () => {
  db = await createDatabase();
});
beforeEach(async () => {
  user = await createUser(db);
  grantId = await grant(db, user, 100);
  hold = (await call("reserve_tokens", { p_user_id: user, p_tokens: 10 })).hold_id;
  await lose(user);
});
afterAll(() => db.drop());

// oxlint-disable-next-line typescript/no-explicit-any
const call = (name: string, args: Record<string, unknown>, at = db): Promise<any> =>
  asService(at, (client) => rpc(client, name, args));
const lose = (whose: string, at = db) =>
  at.admin.query("delete from public.token_accounts where user_id = $1", [whose]);
/** Everything that the books say of the user. */
const books = async () =>
  (
    await db.admin.query(
      `select (select jsonb_agg(to_jsonb(b) order by b.id) from public.token_balances b where b.user_id = $1) as grants,
              (select count(*)::int from public.token_transactions where user_id = $1) as transactions,
              (select count(*)::int from public.token_usage where user_id = $1) as usages,
              (select count(*)::int from public.token_accounts where user_id = $1) as accounts`,
      [user],
    )
  ).rows[0];

const lost = { code: "PT500", message: "account_lost" };

/** Every entry point that reads or changes a user's books; `p_user_id` is added. */
const entries: Record<string, () => Record<string, unknown>> = {
  get_user_token_balance: () => ({}),
  get_token_history: () => ({}),
  get_token_balance_as_of: () => ({ p_at: "2026-01-01T00:00:00Z" }),
  get_token_spend_caps: () => ({}),
  list_token_team_members: () => ({}),
  list_upcoming_token_grants: () => ({}),
  estimate_tokens: () => ({ p_action_type: "chat", p_tokens_used: 1 }),
  explain_token_charge: () => ({ p_transaction_id: 1 }),
  deduct_tokens_with_fifo: () => ({ p_tokens_to_deduct: 1 }),
  track_token_usage: () => ({ p_action_type: "chat", p_tokens_used: 1 }),
  reserve_tokens: () => ({ p_tokens: 1 }),
  capture_tokens: () => ({ p_hold_id: hold }),
  release_tokens: () => ({ p_hold_id: hold }),
  refund_tokens: () => ({ p_transaction_id: 2 }),
  grant_tokens: () => ({ p_tokens: 1 }),
  adjust_tokens: () => ({ p_delta: 1 }),
  set_token_grant_expiry: () => ({ p_grant_id: grantId, p_expires_at: "2999-01-01", p_reason: "x" }),
  void_token_grant: () => ({ p_grant_id: grantId }),
  change_token_plan: () => ({ p_plan_type: "starter" }),
  create_token_payment: () => ({ p_to_plan: "starter" }),
  set_token_account_state: () => ({ p_state: "frozen", p_reason: "x" }),
  set_token_spend_cap: () => ({ p_window: "day", p_tokens: 5 }),
  set_token_top_up: () => ({ p_below_tokens: 5, p_tokens: 5 }),
  reconcile_user_token_balance: () => ({}),
  restate_token_balances: () => ({ p_reason: "exact" }),
};

describe.each(Object.keys(entries))("%s", (name) => {
  test("refuses a lost account and changes nothing", async () => {
    const before = await books();
    await expect(call(name, { p_user_id: user, ...entries[name]!() })).rejects.toMatchObject(lost);
    expect(await books()).toEqual(before);
    expect(before.accounts).toBe(0);
  });
});

test.each(["get_user_token_balance", "deduct_tokens_with_fifo", "adjust_tokens"])(
  "%s refuses below a grant too",
  async (name) => {
    const args = { p_user_id: user, p_tokens_to_deduct: 100_000, p_delta: -100_000 };
    const takes = {
      get_user_token_balance: ["p_user_id"],
      deduct_tokens_with_fifo: ["p_user_id", "p_tokens_to_deduct"],
      adjust_tokens: ["p_user_id", "p_delta"],
    }[name]!;
    await expect(
      call(name, Object.fromEntries(Object.entries(args).filter(([key]) => takes.includes(key)))),
    ).rejects.toMatchObject(lost);
  },
);

test("the user is told the same as the server", async () => {
  for (const [name, args] of [
    ["get_user_token_balance", {}],
    ["deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 1 }],
  ] as const)
    await expect(asUser(db, user, (client) => rpc(client, name, args))).rejects.toMatchObject(lost);
});

test("of a batch the item is refused, the others are not", async () => {
  const other = await createUser(db);
  await grant(db, other, 100);
  const { results } = await call("deduct_tokens_batch", {
    p_items: [user, other, user].map((one) => ({ user_id: one, tokens: 1 })),
  });
  expect(results).toMatchObject([
    { success: false, error: { code: "account_lost" } },
    { success: true, tokens_remaining: 99 },
    { success: false, error: { code: "account_lost" } },
  ]);
});

test("a member whose payer's account is lost, and one whose own is, spend and are told nothing", async () => {
  const [payer, member, other] = [await createUser(db), await createUser(db), await createUser(db)];
  for (const one of [payer, other]) await grant(db, one, 100);
  await call("add_token_team_member", { p_user_id: payer, p_member_id: member });
  for (const whose of [payer, member]) {
    const kept = await db.admin.query("delete from public.token_accounts where user_id = $1 returning *", [
      whose,
    ]);
    for (const [name, args] of [
      ["get_user_token_balance", {}],
      ["get_token_spend_caps", {}],
      ["estimate_tokens", { p_action_type: "chat", p_tokens_used: 1 }],
      ["deduct_tokens_with_fifo", { p_tokens_to_deduct: 1 }],
      ["reserve_tokens", { p_tokens: 1 }],
    ] as const)
      await expect(call(name, { p_user_id: member, ...args }), name).rejects.toMatchObject(lost);
    const { results } = await call("deduct_tokens_batch", {
      p_items: [member, other].map((one) => ({ user_id: one, tokens: 1 })),
    });
    expect(results).toMatchObject([{ error: { code: "account_lost" } }, { success: true }]);
    await db.admin.query(
      "insert into public.token_accounts select (jsonb_populate_record(null::public.token_accounts, $1)).*",
      [JSON.stringify(kept.rows[0])],
    );
  }
  expect(await call("deduct_tokens_with_fifo", { p_user_id: member, p_tokens_to_deduct: 1 })).toMatchObject({
    tokens_remaining: 99,
  });
});

test("a provider's payment is kept by the provider until the account is back", async () => {
  const before = await books();
  const paid = { kind: "paid", user_id: user, plan_type: "starter", amount_cents: 900, currency: "usd" };
  await expect(
    call("record_token_payment_event", {
      p_provider: "stripe",
      p_event_id: `e.${user}`,
      p_event_type: "x",
      p_provider_payment_id: `p.${user}`,
      p_facts: told(paid),
    }),
  ).rejects.toMatchObject(lost);
  expect(await books()).toEqual(before);
});

test("the sweeper passes it over and answers for the others", async () => {
  const before = await books();
  const other = await createUser(db);
  await grant(db, other, 5, { expires_in: "1 hour" });
  await letTimePass(db, other, 1);
  expect(await call("expire_old_token_grants", {})).toBe(1);
  expect(await books()).toEqual(before);
});

test("verify names it", async () => {
  const { rows } = await db.admin.query(
    'select invariant, found from public.verify_token_ledger($1) order by invariant collate "C"',
    [user],
  );
  expect(rows).toContainEqual({ invariant: "I2 account = its grants", found: "no account" });
  expect(rows).toContainEqual({ invariant: "I3 ledger = account", found: "no account" });
});

describe("rows of the books are lost, and the account is there", () => {
  /** A user of the default plan, 300 tokens of it, who has spent so many; then these rows are lost. */
  const afterLosing = async (spent: number, ...tables: string[]) => {
    const plan = (isDefault: boolean) =>
      db.admin.query(
        `insert into public.token_plans (plan_type, name, tokens, is_default, given_to_users_since)
         values ('three', 'Three', 300, $1, '-infinity')
         on conflict (plan_type) do update set is_default = excluded.is_default, given_to_users_since = '-infinity'`,
        [isDefault],
      );
    await plan(true);
    user = await createUser(db);
    await call("deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: spent });
    for (const table of tables) await loseRows(table);
    return { [Symbol.asyncDispose]: async () => void (await plan(false)) };
  };
  const loseRows = async (table: string, also = "") => {
    const client = await db.admin.connect();
    try {
      await client.query("begin");
      // as a restore leaves it: the ledger's own trigger would keep its rows
      if (table === "token_transactions")
        await client.query(`alter table public.${table} disable trigger user`);
      await client.query(
        `delete from ${table.includes(".") ? table : `public.${table}`} where user_id = $1 ${also}`,
        [user],
      );
      if (table === "token_transactions")
        await client.query(`alter table public.${table} enable trigger user`);
      await client.query("commit");
    } finally {
      client.release();
    }
  };

  test.each([
    [["token_balances"]],
    [["token_balances", "tokenbook.subscriptions"]],
    [["token_balances", "token_transactions"]],
    [["token_balances", "token_transactions", "tokenbook.subscriptions"]],
    [["token_balances", "token_accounts"]],
  ])("who has spent everything and lost %j is given nothing anew", async (tables) => {
    await using _ = await afterLosing(300, ...tables);
    const before = await books();

    for (const [name, args] of [
      ["get_user_token_balance", {}],
      ["deduct_tokens_with_fifo", { p_tokens_to_deduct: 1 }],
      ["estimate_tokens", { p_action_type: "chat", p_tokens_used: 1 }],
    ] as const)
      await expect(call(name, { p_user_id: user, ...args }), name).rejects.toMatchObject(lost);
    const { results } = await call("deduct_tokens_batch", { p_items: [{ user_id: user, tokens: 1 }] });
    expect(results).toMatchObject([{ error: { code: "account_lost" } }]);
    expect(await books()).toEqual(before);
  });

  test("tokens without a grant are not told of", async () => {
    await using _ = await afterLosing(100, "token_balances");

    await expect(call("get_user_token_balance", { p_user_id: user })).rejects.toMatchObject(lost);
  });

  test("no more is spent than the grants have", async () => {
    user = await createUser(db);
    await grant(db, user, 100);
    await grant(db, user, 200);
    await loseRows("token_balances", "and tokens_granted = 100");
    const before = await books();

    for (const [name, args] of [
      ["deduct_tokens_with_fifo", { p_tokens_to_deduct: 250 }],
      ["reserve_tokens", { p_tokens: 250 }],
      ["adjust_tokens", { p_delta: -250 }],
    ] as const)
      await expect(call(name, { p_user_id: user, ...args }), name).rejects.toMatchObject(lost);
    expect(await books()).toEqual(before);
    expect(await call("deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 150 })).toMatchObject(
      {
        success: true,
        deducted_from: [{ deducted: 150 }],
      },
    );
  });

  test("a history that is gone is not said to be empty", async () => {
    user = await createUser(db);
    await grant(db, user, 100);
    await loseRows("token_transactions");
    const [{ now }] = (await db.admin.query("select now()")).rows;

    for (const [name, args] of [
      ["get_token_history", {}],
      ["get_token_balance_as_of", { p_at: now.toISOString() }],
    ] as const)
      await expect(call(name, { p_user_id: user, ...args }), name).rejects.toMatchObject(lost);
  });

  test("a user who has only used what costs nothing has lost nothing", async () => {
    user = await createUser(db);
    await call("track_token_usage", { p_user_id: user, p_action_type: "chat", p_tokens_used: 0 });
    await using _ = await afterLosingNothing();

    expect(await call("get_user_token_balance", { p_user_id: user })).toMatchObject({ total_active: 300 });
  });
  /** The default plan, and this very user. */
  const afterLosingNothing = async () => {
    const whose = user;
    const plan = await afterLosing(1);
    user = whose;
    return plan;
  };
});

test("the audits go by what is left, for the user and for everyone", async () => {
  const other = await createUser(db);
  const [kept] = [await grant(db, other, 7)];
  await db.admin.query(
    "insert into tokenbook.subscriptions (user_id, plan_type, billing_cycle) values ($1, 'free', 'none')",
    [user],
  );
  for (const args of [{}, { p_user_id: user }]) {
    const { rows } = await db.admin.query("select * from public.replay_token_balances($1)", [
      "p_user_id" in args ? args.p_user_id : null,
    ]);
    expect(rows).toContainEqual(
      expect.objectContaining({
        user_id: user,
        grant_id: grantId,
        exact: "90",
        stored: "90",
        difference: "0",
      }),
    );
    if (!("p_user_id" in args))
      expect(rows).toContainEqual(expect.objectContaining({ user_id: other, grant_id: kept, exact: "7" }));
  }
  const { rows: found } = await db.admin.query(
    "select * from public.find_token_discrepancies(0) where user_id = $1",
    [user],
  );
  expect(found).toMatchObject([{ user_id: user, current_remaining: "0" }]);
  const { rows: states } = await db.admin.query(
    "select user_id, status from public.check_token_synchronization() where user_id = $1",
    [user],
  );
  expect(states).toEqual([{ user_id: user, status: "lost" }]);
});

test("a replay goes on where a grant, or everything but the ledger, is gone", async () => {
  const other = await createUser(db);
  const [first, second] = [await grant(db, other, 100), await grant(db, other, 50)];
  const { transaction_id } = await call("deduct_tokens_with_fifo", {
    p_user_id: other,
    p_tokens_to_deduct: 120,
  });
  await call("refund_tokens", { p_user_id: other, p_transaction_id: transaction_id });
  await db.admin.query("delete from public.token_balances where id = $1", [first]);
  await db.admin.query("delete from public.token_balances where user_id = $1", [user]);

  const { rows } = await db.admin.query("select * from public.replay_token_balances()");
  expect(rows.filter((row) => row.user_id === user)).toEqual([]);
  expect(rows.filter((row) => row.user_id === other && row.grant_id)).toMatchObject([{ grant_id: second }]);
});

test("a user who never had anything is not a lost account", async () => {
  const nobody = await createUser(db);
  expect(await call("get_user_token_balance", { p_user_id: nobody })).toMatchObject({ total_active: 0 });
  await grant(db, nobody, 5);
});

test("the test sees it: a new account beside open grants", { tags: ["proof"] }, async () => {
  const broken = await createDatabase();
  await applyMutant(broken, "lost-accounts-are-made-anew");
  const one = await createUser(broken);
  await grant(broken, one, 100);
  await lose(one, broken);
  expect(await call("get_user_token_balance", { p_user_id: one }, broken)).toMatchObject({
    total_active: 0,
    grants: [{ tokens_remaining: 100 }],
  });
  await broken.drop();
});
