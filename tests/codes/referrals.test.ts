/** Referrals: a code to refer with, a claim before the first payment, and both sides' tokens with that payment. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { expectCleanBooks } from "../support/books.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { Dice, diceFor, seed } from "../support/dice.ts";
import { applyMutant } from "../support/mutants.ts";
import { dispute, recordPaymentEvent, refund } from "../support/provider-events.ts";
import { asAdmin, asService, asUser, createUser, rpc } from "../support/roles.ts";
import { connectAsOwner, findDeadlocksSoon, storm } from "../support/storm.ts";

let db: Database;
let admin: string;
const databases: Database[] = [];
beforeAll(async () => {
  db = await project();
  admin = await createUser(db, { admin: true });
});
afterAll(async () => {
  await expectCleanBooks(db);
  await Promise.all(databases.map((one) => one.drop()));
});

/** A project that gives 300 for referring and 200 for being referred. */
async function project({ mutant = "", limit = 100 } = {}): Promise<Database> {
  const made = await createDatabase();
  databases.push(made);
  await choose({ p_rewards_per_referrer: limit }, made);
  if (mutant !== "") await applyMutant(made, mutant);
  return made;
}

const server = (name: string, args: Record<string, unknown> = {}, of = db) =>
  asService(of, (client) => rpc(client, name, args));
const callAs = (user: string, name: string, args: Record<string, unknown> = {}, of = db) =>
  asUser(of, user, (client) => rpc(client, name, args));
const choose = (how: Record<string, unknown> = {}, of = db) =>
  server("set_token_referral_policy", { p_referrer_tokens: 300, p_referred_tokens: 200, ...how }, of);
const codeOf = async (user: string, of = db): Promise<string> =>
  (await callAs(user, "get_token_referral_code", {}, of)).code;
const claim = (user: string, code: string, of = db) =>
  callAs(user, "claim_token_referral", { p_referral_code: code }, of);

/** Somebody refers somebody. */
async function pair(of = db): Promise<{ referrer: string; referred: string }> {
  const [referrer, referred] = [await createUser(of), await createUser(of)];
  await claim(referred, await codeOf(referrer, of), of);
  return { referrer, referred };
}

/** A plan of 400,000 tokens for 900 cents, asked for and approved. */
async function pay(user: string, of = db): Promise<string> {
  const { payment_id } = await callAs(
    user,
    "create_token_payment",
    { p_user_id: user, p_to_plan: "starter" },
    of,
  );
  await server("approve_token_payment", { p_user_id: user, p_payment_id: payment_id }, of);
  return payment_id;
}
const giveBack = (user: string, payment: string, cents?: number, of = db) =>
  server(
    "refund_token_payment",
    {
      p_user_id: user,
      p_payment_id: payment,
      p_reason: "changed their mind",
      ...(cents !== undefined && { p_refunded_cents: cents }),
    },
    of,
  );
const paid = (user: string, amountCents = 900) => ({
  kind: "paid",
  user_id: user,
  plan_type: "starter",
  amount_cents: amountCents,
  currency: "usd",
});

/** What somebody has had of bonuses without having given it back: left, spent or held, less what they owe. */
async function bonusOf(user: string, of = db): Promise<number> {
  const { rows } = await of.admin.query(
    `select coalesce(sum(case when t.terms ? 'referral' then t.tokens
                              when t.entry_type = 'clawback' and t.terms ? 'voids' then t.tokens - t.debt_change end), 0)::int as net
       from public.token_transactions t where t.user_id = $1`,
    [user],
  );
  return rows[0].net;
}
const bonuses = async ({ referrer, referred }: { referrer: string; referred: string }, of = db) => [
  await bonusOf(referrer, of),
  await bonusOf(referred, of),
];

const impossible = (reason: string) => ({
  code: "PT409",
  message: "referral_not_possible",
  detail: JSON.stringify({ reason }).replace(":", ": "),
});
const wrongCode = { success: false, code: "PT404", message: "code_not_redeemable" };

describe("the code", () => {
  test("is made when first asked for, and is the same for ever; the server and admins see it too", async () => {
    const user = await createUser(db);
    const first = await callAs(user, "get_token_referral_code");
    expect(first).toEqual({
      success: true,
      code: expect.stringMatching(/^([0-9A-HJKMNP-TV-Z]{4}-){2}[0-9A-HJKMNP-TV-Z]{4}$/),
      is_on: true,
      referrer_tokens: 300,
      referred_tokens: 200,
      rewards: 0,
      rewards_left: 100,
    });
    expect(await callAs(user, "get_token_referral_code")).toEqual(first);
    expect(await server("get_token_referral_code", { p_user_id: user })).toEqual(first);
    await expect(callAs(user, "get_token_referral_code", { p_user_id: admin })).rejects.toMatchObject({
      message: "forbidden",
    });
    for (const table of ["referral_codes", "referrals", "chosen_referral_policy"])
      await expect(
        asUser(db, user, (client) => client.query(`select * from tokenbook.${table}`)),
      ).rejects.toMatchObject({ code: "42501" });
  });

  test("is erased with a user who is deleted and forgotten", async () => {
    const user = await createUser(db);
    await codeOf(user);
    expect((await server("forget_token_user", { p_user_id: user })).erased).not.toHaveProperty(
      "tokenbook.referral_codes",
    );
    await db.admin.query("delete from auth.users where id = $1", [user]);
    expect(await server("forget_token_user", { p_user_id: user })).toMatchObject({
      erased: { "tokenbook.referral_codes": 1 },
    });
  });
});

describe("the policy", () => {
  test.each([
    [{ p_referrer_tokens: null }, "p_referrer_tokens"],
    [{ p_referred_tokens: 0 }, "p_referred_tokens"],
    [{ p_referrer_tokens: 1_000_000_000_001 }, "p_referrer_tokens"],
    [{ p_rewards_per_referrer: 0 }, "p_rewards_per_referrer"],
    [{ p_rewards_per_referrer: null }, "p_rewards_per_referrer"],
    [{ p_lifetime_days: 0 }, "p_lifetime_days"],
  ])("%j is refused", async (how, field) => {
    await expect(choose(how)).rejects.toMatchObject({
      message: "invalid_referral_policy",
      detail: expect.stringContaining(`"${field}"`),
    });
  });

  test("is off until it is set: nothing is claimed or given; and off again", async () => {
    const of = await createDatabase();
    databases.push(of);
    const [referrer, referred] = [await createUser(of), await createUser(of)];
    expect(await callAs(referrer, "get_token_referral_code", {}, of)).toMatchObject({
      is_on: false,
      referrer_tokens: null,
      rewards_left: null,
    });
    await expect(claim(referred, await codeOf(referrer, of), of)).rejects.toMatchObject(impossible("off"));
    await choose({}, of);
    expect(await claim(referred, await codeOf(referrer, of), of)).toMatchObject({
      success: true,
      referred_tokens: 200,
    });
    expect(await choose({ p_referrer_tokens: null, p_referred_tokens: null }, of)).toEqual({
      success: true,
      is_on: false,
      referrer_tokens: null,
      referred_tokens: null,
      rewards_per_referrer: null,
      lifetime_days: null,
    });
    await pay(referred, of);
    expect(await bonuses({ referrer, referred }, of)).toEqual([0, 0]);
    await choose({}, of);
    await pay(referred, of); // the first has been
    expect(await bonuses({ referrer, referred }, of)).toEqual([0, 0]);
    expect((await server("list_token_changes", { p_limit: 1 }, of)).changes[0]).toMatchObject({
      change: "set_token_referral_policy",
      actor_role: "service",
    });
    await expectCleanBooks(of);
  });
});

describe("a claim", () => {
  test("is made once; the same again is replayed, and gives nothing yet", async () => {
    const [one, other, user] = [await createUser(db), await createUser(db), await createUser(db)];
    const code = await codeOf(one);
    expect(await claim(user, code)).toEqual({ success: true, referred_tokens: 200, replayed: false });
    expect(await claim(user, code.toLowerCase().replaceAll("-", ""))).toEqual({
      success: true,
      referred_tokens: 200,
      replayed: true,
    });
    await expect(claim(user, await codeOf(other))).rejects.toMatchObject(impossible("already_referred"));
    await expect(claim(user, "NO-SUCH-CODE")).rejects.toMatchObject(impossible("already_referred"));
    expect(await bonuses({ referrer: one, referred: user })).toEqual([0, 0]);
  });

  test("not by oneself, and not after one has paid, refunded or not", async () => {
    const [one, user] = [await createUser(db), await createUser(db)];
    await expect(claim(user, await codeOf(user))).rejects.toMatchObject(impossible("own_code"));
    const payment = await pay(user);
    await expect(claim(user, await codeOf(one))).rejects.toMatchObject(impossible("already_paid"));
    await giveBack(user, payment);
    await expect(claim(user, await codeOf(one))).rejects.toMatchObject(impossible("already_paid"));
  });

  test("a code that nobody has, or whose owner is frozen or gone, is a wrong one, and counted", async () => {
    const [frozen, gone, user] = [await createUser(db), await createUser(db), await createUser(db)];
    const codes = ["NO-SUCH-CODE", await codeOf(frozen), await codeOf(gone)];
    await server("set_token_account_state", { p_user_id: frozen, p_state: "frozen", p_reason: "a test" });
    await db.admin.query("delete from auth.users where id = $1", [gone]);
    const answers = [];
    for (const code of codes) answers.push(await claim(user, code));
    expect(answers[0]).toMatchObject(wrongCode);
    for (const answer of answers) expect(answer).toEqual(answers[0]);
    for (let nth = 3; nth < 10; nth++) await claim(user, `GUESS-${nth}`);
    for (const ask of [
      () => claim(user, "GUESS-11"),
      () => callAs(user, "redeem_token_code", { p_code: "GUESS-12" }),
    ])
      await expect(ask()).rejects.toMatchObject({ message: "too_many_attempts" });
  });

  test("a frozen account claims nothing, a deleted user neither", async () => {
    const [one, frozen, gone] = [await createUser(db), await createUser(db), await createUser(db)];
    const code = await codeOf(one);
    await codeOf(frozen);
    await server("set_token_account_state", { p_user_id: frozen, p_state: "frozen", p_reason: "a test" });
    for (const tried of [code, "NO-SUCH-CODE"])
      await expect(claim(frozen, tried)).rejects.toMatchObject({ message: "account_frozen" });
    await codeOf(gone);
    await db.admin.query("delete from auth.users where id = $1", [gone]);
    await expect(
      server("claim_token_referral", { p_referral_code: code, p_user_id: gone }),
    ).rejects.toMatchObject({ message: "user_not_found" });
  });
});

describe("the first payment", () => {
  test("gives both their tokens in its commit, once, by entries that name the referral and not the other", async () => {
    const { referrer, referred } = await pair();
    const payment = await pay(referred);
    await server("approve_token_payment", { p_user_id: referred, p_payment_id: payment });
    const { rows } = await db.admin.query(
      `select t.user_id, t.tokens::int, t.action_type, t.reason, t.actor_role, t.terms ->> 'referral' = r.id::text as is_named,
              t.xmin = (select p.xmin from public.token_payments p where p.user_id = r.user_id and p.id = r.payment_id) as is_same_commit,
              strpos(t.terms::text, case t.user_id when r.user_id then r.referrer_id else r.user_id end::text) as other
         from tokenbook.referrals r
         join public.token_transactions t on t.user_id in (r.user_id, r.referrer_id) and t.terms ? 'referral'
        where r.user_id = $1 order by t.tokens`,
      [referred],
    );
    const entry = {
      action_type: "bonus_grant",
      reason: "a referral",
      actor_role: "service",
      is_named: true,
      is_same_commit: true,
      other: 0,
    };
    expect(rows).toEqual([
      { user_id: referred, tokens: 200, ...entry },
      { user_id: referrer, tokens: 300, ...entry },
    ]);
    await pay(referred);
    expect(await bonuses({ referrer, referred })).toEqual([300, 200]);
    expect(await callAs(referrer, "get_token_referral_code")).toMatchObject({
      rewards: 1,
      rewards_left: 99,
    });
  });

  test("at a provider too, whatever is told of it again; one of nothing is no payment", async () => {
    const users = await pair();
    await recordPaymentEvent(db, `pi_free_${users.referred}`, paid(users.referred, 0));
    expect(await bonuses(users)).toEqual([0, 0]);
    for (let nth = 0; nth < 3; nth++)
      await recordPaymentEvent(db, `pi_${users.referred}`, paid(users.referred), {
        event: `evt_${users.referred}_${nth % 2}`,
      });
    expect(await bonuses(users)).toEqual([300, 200]);
  });

  test("an admin who approves is who gave both", async () => {
    const { referrer, referred } = await pair();
    const { payment_id } = await callAs(referred, "create_token_payment", {
      p_user_id: referred,
      p_to_plan: "starter",
    });
    await asAdmin(db, admin, (client) =>
      rpc(client, "approve_token_payment", { p_user_id: referred, p_payment_id: payment_id }),
    );
    const { rows } = await db.admin.query(
      "select actor_id from public.token_transactions where user_id = any ($1) and terms ? 'referral'",
      [[referrer, referred]],
    );
    expect(rows).toEqual([{ actor_id: admin }, { actor_id: admin }]);
  });

  test.each(["frozen", "gone"])(
    "gives neither anything while who referred is %s, and goes through",
    async (how) => {
      const users = await pair();
      if (how === "frozen")
        await server("set_token_account_state", {
          p_user_id: users.referrer,
          p_state: "frozen",
          p_reason: "a test",
        });
      else await db.admin.query("delete from auth.users where id = $1", [users.referrer]);
      await pay(users.referred);
      expect(await bonuses(users)).toEqual([0, 0]);
    },
  );

  test("gives neither anything beyond the limit of who referred, whose code is a wrong one then", async () => {
    const of = await project({ limit: 2 });
    const referrer = await createUser(of);
    const code = await codeOf(referrer, of);
    const users = await Promise.all(Array.from({ length: 3 }, () => createUser(of)));
    for (const user of users) await claim(user, code, of);
    const payments = [];
    for (const user of users) payments.push(await pay(user, of));
    expect(await bonusOf(referrer, of)).toBe(600);
    expect(await bonusOf(users[2]!, of)).toBe(0);
    expect(await claim(await createUser(of), code, of)).toMatchObject(wrongCode);
    await giveBack(users[0]!, payments[0]!, undefined, of); // what was taken back stays counted
    expect(await claim(await createUser(of), code, of)).toMatchObject(wrongCode);
    await expectCleanBooks(of);
  });

  test("waits for who referred, rather than being refused, while their account is at work", async () => {
    const waited = async (of: Database) => {
      const { referrer, referred } = await pair(of);
      const { payment_id } = await callAs(
        referred,
        "create_token_payment",
        { p_user_id: referred, p_to_plan: "starter" },
        of,
      );
      const busy = await connectAsOwner(of);
      await busy.query("begin");
      await busy.query("select from public.token_accounts where user_id = $1 for no key update", [referrer]);
      const approval = server(
        "approve_token_payment",
        { p_user_id: referred, p_payment_id: payment_id },
        of,
      ).then(
        ({ success }) => success,
        ({ message }) => message,
      );
      await busy.query("select pg_sleep(0.3)");
      await busy.query("commit");
      await busy.end();
      return approval;
    };
    expect(await waited(db)).toBe(true);
    expect(await waited(await project({ mutant: "referrers-refuse-payments" }))).toBe("busy");
  });
});

describe("money that goes back", () => {
  test("takes both back once half of it is gone, what was spent too, as debt; and less than half nothing", async () => {
    const users = await pair();
    const payment = await pay(users.referred);
    await server("deduct_tokens_with_fifo", { p_user_id: users.referrer, p_tokens_to_deduct: 250 });
    await giveBack(users.referred, payment, 449);
    expect(await bonuses(users)).toEqual([300, 200]);
    await giveBack(users.referred, payment, 450);
    expect(await bonuses(users)).toEqual([0, 0]);
    expect(await server("get_user_token_balance", { p_user_id: users.referrer })).toMatchObject({
      total_active: 0,
      total_owed: 250,
    });
    await giveBack(users.referred, payment);
    expect(await bonuses(users)).toEqual([0, 0]);
    // and for good
    await giveBack(users.referred, payment, 0);
    await pay(users.referred);
    expect(await bonuses(users)).toEqual([0, 0]);
  });

  test("takes nothing for what had run out or was voided", async () => {
    const of = await project();
    await choose({ p_lifetime_days: 1, p_rewards_per_referrer: 5 }, of);
    const users = await pair(of);
    const payment = await pay(users.referred, of);
    const { rows } = await of.admin.query(
      "select id from public.token_balances where user_id = $1 and grant_type = 'bonus'",
      [users.referred],
    );
    await server(
      "void_token_grant",
      { p_user_id: users.referred, p_grant_id: rows[0].id, p_reason: "a test" },
      of,
    );
    await giveBack(users.referred, payment, undefined, of);
    expect(await server("get_user_token_balance", { p_user_id: users.referred }, of)).toMatchObject({
      total_owed: 0,
    });
    expect(await bonusOf(users.referrer, of)).toBe(0);
    await expectCleanBooks(of);
  });

  test("by a dispute, opened and won, takes them back all the same", async () => {
    const users = await pair();
    const payment = `pi_disputed_${users.referred}`;
    await recordPaymentEvent(db, payment, paid(users.referred));
    await recordPaymentEvent(db, payment, dispute("open", "dp_1", 900));
    expect(await bonuses(users)).toEqual([0, 0]);
    await recordPaymentEvent(db, payment, dispute("won", "dp_1", 900));
    expect(await bonuses(users)).toEqual([0, 0]);
    expect(await server("get_user_token_balance", { p_user_id: users.referred })).toMatchObject({
      total_active: 400_000,
    });
  });

  test("a payment that is found to be a part of another was rewarded once, and goes with the whole", async () => {
    const users = await pair();
    for (const payment of ["pi_first", "pi_second"])
      await recordPaymentEvent(db, payment, paid(users.referred));
    await recordPaymentEvent(db, "pi_second", { ...paid(users.referred), parts: ["pi_first"] });
    expect(await bonuses(users)).toEqual([300, 200]);
    await recordPaymentEvent(db, "pi_second", refund("re_1", 900));
    expect(await bonuses(users)).toEqual([0, 0]);
  });

  test("a provider's events lead to the same state in any order", async () => {
    const dice = diceFor(seed);
    const ends = new Set<string>();
    for (let nth = 0; nth < 12; nth++) {
      const users = await pair();
      const payment = `pi_order_${nth}_${users.referred}`;
      const events = [
        paid(users.referred),
        refund("re_1", 300),
        refund("re_2", 300),
        dispute("open", "dp_1", 100),
      ].map((facts, at) => ({
        occurred_at: new Date(Date.now() - 10_000 + at * 1000).toISOString(),
        ...facts,
      }));
      const order = [...events, ...events]
        .map((facts) => ({ facts, at: dice.next() }))
        .toSorted((a, b) => a.at - b.at);
      for (const { facts } of order) await recordPaymentEvent(db, payment, facts);
      ends.add(JSON.stringify(await bonuses(users)));
    }
    console.log(`orders: SEED=${seed} orders=12 ends=${[...ends].join(" ")}`);
    expect([...ends]).toEqual(["[0,0]"]);
  });
});

// ---- Paying and refunding in a loop ------------------------------------------------------------

/** Two own accounts at a time: pay, spend all there is, have it refunded, and again. What was had for no money. */
async function loop(of: Database, rounds = 6): Promise<{ minted: number; rewards: number }> {
  const referrer = await createUser(of);
  const code = await codeOf(referrer, of);
  const users = [referrer];
  const spendAll = async (user: string) => {
    const { total_active } = await server("get_user_token_balance", { p_user_id: user }, of);
    if (total_active > 0)
      await server("deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: total_active }, of);
  };
  for (let round = 0; round < rounds; round++) {
    const user = await createUser(of);
    users.push(user);
    await claim(user, code, of);
    if (round % 2 === 0) {
      const payment = await pay(user, of);
      for (const one of [user, referrer]) await spendAll(one);
      await giveBack(user, payment, undefined, of);
    } else {
      const payment = `pi_loop_${user}`;
      await recordPaymentEvent(of, payment, paid(user));
      for (const one of [user, referrer]) await spendAll(one);
      await recordPaymentEvent(of, payment, refund("re_1", 900));
      await recordPaymentEvent(of, payment, refund("re_1", 900));
    }
    for (const one of [user, referrer]) await spendAll(one);
    // and once more with the same account
    const again = await pay(user, of);
    await giveBack(user, again, undefined, of);
  }
  const { rows } = await of.admin.query(
    `select coalesce(sum(a.tokens_remaining - a.tokens_owed), 0)::int + coalesce((
              select -sum(t.tokens) from public.token_transactions t
               where t.user_id = any ($1) and t.entry_type = 'deduction'), 0)::int as minted
       from public.token_accounts a where a.user_id = any ($1)`,
    [users],
  );
  const { rewards } = await callAs(referrer, "get_token_referral_code", {}, of);
  console.log(
    `loop of paying and refunding: rounds=${rounds} rewards=${rewards} tokens for no money=${rows[0].minted}`,
  );
  return { minted: rows[0].minted, rewards };
}

test("paying and refunding in a loop mints nothing", async () => {
  expect(await loop(db)).toEqual({ minted: 0, rewards: 6 });
});

test("the test sees it", { tags: ["proof"] }, async () => {
  for (const mutant of [
    "rewards-stay-when-money-goes",
    "referrers-keep-their-reward",
    "spent-rewards-are-kept",
    "rewards-each-time-it-is-told",
  ]) {
    const { minted } = await loop(await project({ mutant }), 2);
    console.log(`mutant ${mutant}: tokens for no money=${minted}`);
    expect(minted, mutant).toBeGreaterThan(0);
  }
});

test("the tests see it: a claim after paying, and rewards without a limit", { tags: ["proof"] }, async () => {
  const late = await project({ mutant: "referrals-after-paying" });
  const [referrer, referred] = [await createUser(late), await createUser(late)];
  await pay(referred, late);
  await claim(referred, await codeOf(referrer, late), late);
  await pay(referred, late);
  expect(await bonuses({ referrer, referred }, late)).toEqual([300, 200]);

  const many = await project({ mutant: "rewards-without-a-limit", limit: 1 });
  const one = await createUser(many);
  for (let nth = 0; nth < 2; nth++) {
    const user = await createUser(many);
    await claim(user, await codeOf(one, many), many);
    await pay(user, many);
  }
  expect(await bonusOf(one, many)).toBe(600);
});

// ---- At once -----------------------------------------------------------------------------------

test("everybody refers everybody and pays, spends and is refunded at once: each reward once, nobody waits in a circle", async () => {
  const of = await project({ limit: 3 });
  await findDeadlocksSoon(of);
  const users = await Promise.all(Array.from({ length: 10 }, () => createUser(of)));
  const codes = await Promise.all(users.map((user) => codeOf(user, of)));
  // each by another of the first three, these in a ring
  for (const [nth, user] of users.entries()) await claim(user, codes[nth < 3 ? (nth + 1) % 3 : nth % 3]!, of);
  const dice: Dice = diceFor(seed);
  const steps = Array.from({ length: 160 }, () => ({ user: dice.any(users), what: dice.below(4) }));
  const { mix } = await storm(of, {
    connections: 8,
    attempts: steps.length,
    async run(client, attempt) {
      const { user, what } = steps[attempt]!;
      if (what === 0) {
        await client.query("select public.record_token_payment_event('stripe', $1, 'paid', $2, $3)", [
          `evt_${attempt}`,
          `pi_${user}`,
          JSON.stringify({ ...paid(user), occurred_at: new Date(Date.now() - 60_000).toISOString() }),
        ]);
        return "paid";
      } else if (what === 1) {
        await client.query("select public.record_token_payment_event('stripe', $1, 'refund', $2, $3)", [
          `evt_${attempt}`,
          `pi_${user}`,
          JSON.stringify({ ...refund("re_1", 900), occurred_at: new Date().toISOString() }),
        ]);
        return "refunded";
      } else if (what === 2) {
        await client.query("select public.grant_tokens($1, 5)", [user]);
        return "granted";
      }
      const { rows } = await client.query(
        "select public.deduct_tokens_with_fifo($1, 3) ->> 'success' as success",
        [user],
      );
      return rows[0].success === "true" ? "spent" : "short";
    },
  });
  const { rows } = await of.admin.query(
    `select (select max(rewards) from tokenbook.referral_codes)::int as most,
            (select count(*) from tokenbook.referrals where referrer_grant_id is not null)::int as rewarded,
            (select count(*) from public.token_transactions where terms ? 'referral')::int as entries,
            (select count(*) from tokenbook.referrals where taken_back_at is not null)::int as taken_back`,
  );
  console.log(`referrals at once: SEED=${seed} mix=${JSON.stringify(mix)} ${JSON.stringify(rows[0])}`);
  expect(Object.keys(mix).filter((outcome) => outcome.startsWith("error"))).toEqual([]);
  expect(rows[0].most).toBeLessThanOrEqual(3);
  expect(rows[0].entries).toBe(2 * rows[0].rewarded);
  await expectCleanBooks(of);
});

test("verify finds a reward that no referral names", async () => {
  const of = await project();
  const { referred } = await pair(of);
  await pay(referred, of);
  await of.admin.query("update tokenbook.referrals set id = gen_random_uuid() where user_id = $1", [
    referred,
  ]);
  const { rows } = await of.admin.query("select invariant from public.verify_token_ledger()");
  expect(rows.map((row) => row.invariant)).toEqual(Array(2).fill("I5 a referral is rewarded by its entries"));
});
