import { createHmac, randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { expectCleanBooks } from "../support/books.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { digestQuery } from "../support/digest.ts";
import { applyMutant } from "../support/mutants.ts";
import { asAdmin, asAnon, asService, asUser, createUser, rpc } from "../support/roles.ts";
import { letTimePass } from "../support/time.ts";

let db: Database;
const databases: Database[] = [];
beforeAll(async () => {
  db = await project();
});
afterAll(async () => {
  await expectCleanBooks(db);
  await Promise.all(databases.map((one) => one.drop()));
});

/** A project of its own, with a free trial of 100,000 tokens, one a month and one that costs something. */
async function project({ isDefault = false, mutant = "" } = {}): Promise<Database> {
  const made = await createDatabase();
  databases.push(made);
  await made.admin.query(`
    insert into public.token_plans (plan_type, name, tokens, price_cents, billing_cycle, grace_days, grant_type, grant_lifetime_days, rank)
    values ('monthly_trial', 'A trial each month', 100000, 0, 'monthly', 30, 'trial', 56, 5),
           ('paid_trial', 'A trial for a dollar', 100000, 100, 'none', 0, 'trial', 56, 5)`);
  if (isDefault)
    await made.admin.query(
      "update public.token_plans set is_default = true, given_to_users_since = '-infinity' where plan_type = 'trial'",
    );
  if (mutant !== "") await applyMutant(made, mutant);
  return made;
}

const call = (name: string, args: Record<string, unknown> = {}, of = db) =>
  asService(of, (client) => rpc(client, name, args));
const take = (user: string, of = db, args: Record<string, unknown> = {}) =>
  call("change_token_plan", { p_user_id: user, p_plan_type: "trial", ...args }, of);
const check = (user: string, of = db) => call("check_token_trial", { p_user_id: user }, of);
const choose = (policy: string, of: Database, how: Record<string, unknown> = {}) =>
  call("set_token_trial_policy", { p_policy: policy, ...how }, of);
const refused = { code: "PT409", message: "trial_already_taken" };
const remove = (user: string, of = db) => of.admin.query("delete from auth.users where id = $1", [user]);
const anAddress = () => `${randomUUID()}@example.com`;

/** A user reads their balance; a user without books is given the default plan by it. */
const look = (user: string, of = db) => of.admin.query("select public.get_user_token_balance($1)", [user]);

/** What a user who has looked at their balance has been given of trials, plan included, by the tables. */
async function given(user: string, of = db): Promise<{ plan: string | null; trials: number[] }> {
  await look(user, of);
  const { rows } = await of.admin.query(
    `select (select plan_type from public.token_subscriptions where user_id = $1) as plan,
            array(select tokens_granted::float8 from public.token_balances
                   where user_id = $1 and grant_type = 'trial' order by created_at) as trials`,
    [user],
  );
  return rows[0];
}

/** Signs somebody up as the auth server does: the user first, then their identity, in one transaction. */
async function signUpWith(
  provider: string,
  providerId: string,
  email: string | null = anAddress(),
  of = db,
): Promise<string> {
  const id = randomUUID();
  const client = await of.admin.connect();
  try {
    await client.query("begin");
    await client.query(
      "insert into auth.users (id, aud, role, email, raw_app_meta_data, raw_user_meta_data) values ($1, 'authenticated', 'authenticated', $2, $3::text::jsonb, '{}')",
      [id, email, JSON.stringify({ provider, providers: [provider] })],
    );
    await link(id, provider, providerId, client);
    await client.query("commit");
  } catch (error) {
    await client.query("rollback");
    throw error;
  } finally {
    client.release();
  }
  return id;
}

const link = (
  id: string,
  provider: string,
  providerId: string,
  client: Pick<Database["admin"], "query"> = db.admin,
) =>
  client.query(
    `insert into auth.identities (id, provider, provider_id, user_id, identity_data)
     values (gen_random_uuid(), $2, $3, $1, jsonb_build_object('sub', $3::text))`,
    [id, provider, providerId],
  );

/** An anonymous sign-in: neither an address nor an identity. */
async function signInAnonymously(of = db): Promise<string> {
  const id = randomUUID();
  await of.admin.query(
    "insert into auth.users (id, aud, role, raw_app_meta_data, raw_user_meta_data) values ($1, 'authenticated', 'authenticated', '{}', '{}')",
    [id],
  );
  return id;
}

/** Expects a call to be refused, and the whole database to be as it was. */
async function expectNothing(work: () => Promise<unknown>, says: object, of = db): Promise<void> {
  const query = await digestQuery(of.admin);
  const before = (await of.admin.query(query)).rows[0].digest;
  await expect(work()).rejects.toMatchObject(says);
  expect((await of.admin.query(query)).rows[0].digest).toBe(before);
}

// ---- One account -------------------------------------------------------------------------------

test("the trial plan is given once: a second time it is refused, and nothing changes", async () => {
  const user = await createUser(db);
  const first = await take(user, db, { p_idempotency_key: "trial" });
  expect(first).toMatchObject({ success: true, tokens_granted: 100_000 });

  await expectNothing(() => take(user), refused);
  await expectNothing(() => take(user, db, { p_payment_id: "nothing_was_paid" }), refused);
  await expectNothing(
    () => call("change_token_plan", { p_user_id: user, p_plan_type: "monthly_trial" }),
    refused,
  );

  expect(await take(user, db, { p_idempotency_key: "trial" })).toEqual({ ...first, replayed: true });
  expect(await given(user)).toEqual({ plan: "trial", trials: [100_000] });
});

test("a trial is not renewed", async () => {
  const user = await createUser(db);
  await call("change_token_plan", { p_user_id: user, p_plan_type: "monthly_trial" });
  await letTimePass(db, user, 57);

  await expect(call("renew_token_subscription", { p_user_id: user })).rejects.toMatchObject(refused);

  expect((await given(user)).trials).toEqual([100_000]);
});

test("a user who had a trial cannot go back to it at the end of a period", async () => {
  const user = await createUser(db);
  await take(user);
  await call("change_token_plan", { p_user_id: user, p_plan_type: "professional" });

  await expectNothing(() => take(user), refused);
});

test("a user who never had a trial can downgrade to it once, from the next period on", async () => {
  const user = await createUser(db);
  await call("change_token_plan", { p_user_id: user, p_plan_type: "professional" });
  expect(await call("change_token_plan", { p_user_id: user, p_plan_type: "monthly_trial" })).toMatchObject({
    effective: "period_end",
    tokens_granted: 0,
  });
  await letTimePass(db, user, 64);

  expect(await call("renew_token_subscription", { p_user_id: user })).toMatchObject({
    plan_type: "monthly_trial",
    tokens_granted: 100_000,
  });
  await letTimePass(db, user, 57);
  await expect(call("renew_token_subscription", { p_user_id: user })).rejects.toMatchObject(refused);
});

test("a second trial is neither sold nor asked for; one that waited and costs nothing is not approved", async () => {
  const user = await createUser(db);
  const ask = (plan: string) =>
    asUser(db, user, (client) => rpc(client, "create_token_payment", { p_user_id: user, p_to_plan: plan }));
  const { payment_id } = await ask("trial");
  await take(user);

  await expectNothing(() => ask("trial"), refused);
  await expectNothing(() => ask("paid_trial"), refused);
  await db.admin.query(
    "update public.token_plans set stripe_price_id = 'price_trial' where plan_type = 'paid_trial'",
  );
  await expectNothing(
    () =>
      asUser(db, user, (client) =>
        rpc(client, "prepare_token_checkout", { p_user_id: user, p_plan_type: "paid_trial" }),
      ),
    refused,
  );
  await expectNothing(
    () => call("approve_token_payment", { p_user_id: user, p_payment_id: payment_id }),
    refused,
  );
  await call("reject_token_payment", {
    p_user_id: user,
    p_payment_id: payment_id,
    p_reason: "had one before",
  });
});

test("what was paid for is given, and remembered", async () => {
  for (const pay of waysToPay) {
    const address = anAddress();
    const user = await createUser(db, { email: address });
    await pay(user, db);
    expect(await given(user), pay.name).toEqual({ plan: "paid_trial", trials: [100_000] });

    await pay(user, db);
    expect((await given(user)).trials, pay.name).toEqual([100_000, 100_000]);
    await expect(take(user), pay.name).rejects.toMatchObject(refused);
    await remove(user);
    await expect(take(await createUser(db, { email: address })), pay.name).rejects.toMatchObject(refused);
  }
});

test("the test sees it: the policy is asked about what was paid", { tags: ["proof"] }, async () => {
  const broken = await project({ mutant: "paid-trials-are-refused" });
  for (const pay of waysToPay) {
    const user = await createUser(broken);
    await pay(user, broken);
    await pay(user, broken).catch(() => undefined);
    expect((await given(user, broken)).trials, pay.name).toEqual([100_000]);
  }
});

/** Ways in which a trial that costs a dollar is paid, each payment another one. */
const waysToPay = [
  async function byWebhook(user: string, of: Database) {
    const id = randomUUID();
    await call(
      "record_token_payment_event",
      {
        p_provider: "stripe",
        p_event_id: `evt_${id}`,
        p_event_type: "invoice.paid",
        p_provider_payment_id: `in_${id}`,
        p_facts: {
          kind: "paid",
          occurred_at: new Date().toISOString(),
          user_id: user,
          plan_type: "paid_trial",
          amount_cents: 100,
          currency: "usd",
        },
      },
      of,
    );
  },
  async function byHand(user: string, of: Database) {
    await call(
      "change_token_plan",
      { p_user_id: user, p_plan_type: "paid_trial", p_payment_id: randomUUID() },
      of,
    );
  },
];

test("an admin's grant of a trial is given, and remembered", async () => {
  const admin = await createUser(db, { admin: true });
  const user = await createUser(db);
  const grant = (key: string) =>
    asAdmin(db, admin, (client) =>
      rpc(client, "grant_tokens", {
        p_user_id: user,
        p_tokens: 500,
        p_grant_type: "trial",
        p_reason: "asked at the fair",
        p_idempotency_key: key,
      }),
    );
  await grant("one");
  await expect(take(user)).rejects.toMatchObject(refused);
  await grant("two");
  expect(await grant("two")).toMatchObject({ replayed: true });
  expect(await given(user)).toEqual({ plan: null, trials: [500, 500] });
});

test("the test sees it: a granted trial that is forgotten", { tags: ["proof"] }, async () => {
  const broken = await project({ mutant: "granted-trials-are-forgotten" });
  const user = await createUser(broken);
  await call("grant_tokens", { p_user_id: user, p_tokens: 500, p_grant_type: "trial" }, broken);
  expect((await take(user, broken)).tokens_granted).toBe(100_000);
});

// ---- The same person again ---------------------------------------------------------------------

/** How somebody who had a trial comes back, each as another account; of whom the first two are `[first, second]`. */
const waysBack: Record<string, (of: Database) => Promise<[string, string]>> = {
  "with the same address, after deleting the account": async (of) => {
    const email = anAddress();
    const first = await createUser(of, { email });
    await take(first, of).catch(hadItAlready);
    await remove(first, of);
    return [first, await createUser(of, { email })];
  },
  "with a tag in the address": async (of) => {
    const name = randomUUID();
    const first = await createUser(of, { email: `${name}@example.com` });
    await take(first, of).catch(hadItAlready);
    return [first, await createUser(of, { email: `${name}+again@example.com` })];
  },
  "with dots in a Gmail address": async (of) => {
    const name = randomUUID().replaceAll("-", "");
    const first = await createUser(of, { email: `${name}@gmail.com` });
    await take(first, of).catch(hadItAlready);
    return [first, await createUser(of, { email: `${name.slice(0, 3)}.${name.slice(3)}@googlemail.com` })];
  },
  "with quotes around the name": async (of) => {
    const name = randomUUID();
    const first = await createUser(of, { email: `${name}@example.com` });
    await take(first, of).catch(hadItAlready);
    return [first, await createUser(of, { email: `"${name}"@example.com` })];
  },
  "with the same identity at a provider, under another address": async (of) => {
    const github = String(Math.random());
    const first = await signUpWith("github", github, anAddress(), of);
    await take(first, of).catch(hadItAlready);
    await remove(first, of);
    return [first, await signUpWith("github", github, anAddress(), of)];
  },
  "with the same identity and no address": async (of) => {
    const apple = randomUUID();
    const first = await signUpWith("apple", apple, null, of);
    await take(first, of).catch(hadItAlready);
    await remove(first, of);
    return [first, await signUpWith("apple", apple, null, of)];
  },
  "with the address that they had then, after changing it": async (of) => {
    const email = anAddress();
    const first = await createUser(of, { email });
    await take(first, of).catch(hadItAlready);
    await of.admin.query("update auth.users set email = $2 where id = $1", [first, anAddress()]);
    return [first, await createUser(of, { email })];
  },
  "with the same phone number": async (of) => {
    const phone = String(4915100000000 + Math.floor(Math.random() * 1e8));
    const first = await createUser(of);
    await of.admin.query("update auth.users set phone = $2 where id = $1", [first, phone]);
    await look(first, of);
    await call("grant_tokens", { p_user_id: first, p_tokens: 1, p_grant_type: "trial" }, of);
    await remove(first, of);
    const second = randomUUID();
    await of.admin.query(
      "insert into auth.users (id, phone, raw_app_meta_data, raw_user_meta_data) values ($1, $2, '{}', '{}')",
      [second, phone],
    );
    return [first, second];
  },
};

/** Where the trial came with registration. */
const hadItAlready = (error: Error) => expect(error).toMatchObject(refused);

test.for(Object.keys(waysBack))("who comes back %s is refused", async (way) => {
  const [first, second] = await waysBack[way]!(db);

  await expectNothing(() => take(second), refused);
  expect((await given(first)).trials).toHaveLength(1);
  expect(await given(second)).toEqual({ plan: null, trials: [] });
});

test("changing the address in between makes nobody another person", async () => {
  const user = await createUser(db);
  await take(user);
  await db.admin.query("update auth.users set email = $2 where id = $1", [user, anAddress()]);

  await expectNothing(() => take(user), refused);
});

test("other people are not taken for them", async () => {
  const name = randomUUID();
  await take(await createUser(db, { email: `${name}@example.com` }));
  await take(await signUpWith("github", `1${name}`));

  for (const other of [
    await createUser(db, { email: `${name}@example.org` }),
    await createUser(db, { email: `${name.slice(0, 3)}.${name.slice(3)}@example.com` }),
    await signUpWith("gitlab", `1${name}`),
    await signUpWith("github", `2${name}`),
  ]) {
    expect(await take(other)).toMatchObject({ tokens_granted: 100_000 });
  }
});

test(
  "the test sees it: each thing that is forgotten lets somebody back in",
  { tags: ["proof"] },
  async () => {
    const lets: Record<string, string[]> = {
      "trials-forget-addresses": [
        "with the same address, after deleting the account",
        "with a tag in the address",
        "with dots in a Gmail address",
        "with the address that they had then, after changing it",
      ],
      "trials-forget-identities": ["with the same identity at a provider, under another address"],
      "tags-make-other-addresses": ["with a tag in the address"],
      "quotes-make-other-addresses": ["with quotes around the name"],
    };
    for (const [mutant, ways] of Object.entries(lets)) {
      const broken = await project({ mutant });
      for (const way of ways) {
        const [, second] = await waysBack[way]!(broken);
        const { trial, reason } = await check(second, broken);
        expect([trial, reason], `${mutant}: ${way}`).not.toEqual(["none", "trial_already_taken"]);
      }
    }
  },
);

// ---- Registration ------------------------------------------------------------------------------

test.for(Object.keys(waysBack))(
  "where the default plan is a trial, a user who comes back %s signs up and has no plan",
  { timeout: 20_000 },
  async (way) => {
    const of = await project({ isDefault: true });
    const [first, second] = await waysBack[way]!(of);

    expect((await given(first, of)).trials[0]).toBe(100_000);
    expect(await given(second, of)).toEqual({ plan: null, trials: [] });
    // nor by any later touch
    const balance = await asUser(of, second, (client) => rpc(client, "get_user_token_balance"));
    expect(balance).toMatchObject({ total_active: 0, plan_type: null });
    const spent = await asUser(of, second, (client) =>
      rpc(client, "deduct_tokens_with_fifo", { p_user_id: second, p_tokens_to_deduct: 1 }),
    );
    expect(spent).toMatchObject({ success: false, tokens_remaining_to_deduct: 1 });
    expect((await given(second, of)).trials).toEqual([]);
    const { rows } = await of.admin.query("select * from tokenbook.failed_registrations");
    expect(rows).toEqual([]);
    const storage = await asUser(of, second, (client) => rpc(client, "get_user_storage_quota"));
    expect(JSON.stringify(storage)).not.toContain("25");
    await expectCleanBooks(of);
  },
);

test("a user who was refused the trial at registration can buy a plan", async () => {
  const of = await project({ isDefault: true });
  const [, second] = await waysBack["with a tag in the address"]!(of);

  const bought = await call("change_token_plan", { p_user_id: second, p_plan_type: "starter" }, of);

  expect(bought).toMatchObject({ tokens_granted: 400_000, tokens_remaining: 400_000 });
  await expectCleanBooks(of);
});

test("the test sees it: registered at the row, an identity comes too late", { tags: ["proof"] }, async () => {
  const broken = await project({ isDefault: true, mutant: "registered-before-their-identity" });
  const [, second] = await waysBack["with the same identity at a provider, under another address"]!(broken);

  expect((await given(second, broken)).trials).toEqual([100_000]);
});

test("a transaction that inserts a user and reads their books sees the plan", async () => {
  const of = await project({ isDefault: true });
  const id = randomUUID();
  const client = await of.admin.connect();
  await client.query("begin");
  await client.query("insert into auth.users (id, email, created_at) values ($1, $2, now())", [
    id,
    anAddress(),
  ]);
  const { rows } = await client.query("select public.get_user_token_balance($1) as balance", [id]);
  await client.query("commit");
  client.release();

  expect(rows[0].balance).toMatchObject({ total_active: 100_000 });
  expect((await given(id, of)).trials).toEqual([100_000]);
});

test("an anonymous sign-in has the trial once it has an address; the person behind it has no second one", async () => {
  const of = await project({ isDefault: true });
  const user = await signInAnonymously(of);
  const read = () => asUser(of, user, (client) => rpc(client, "get_user_token_balance"));
  expect(await read()).toMatchObject({ total_active: 0 });
  expect(await check(user, of)).toMatchObject({ trial: "none", reason: "trial_needs_identity" });
  await expectNothing(() => take(user, of), { code: "PT409", message: "trial_needs_identity" }, of);

  const email = anAddress();
  await of.admin.query("update auth.users set email = $2 where id = $1", [user, email]);
  const spent = await asUser(of, user, (client) =>
    rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 1 }),
  );
  expect(spent).toMatchObject({ success: true, tokens_remaining: 99_999 });
  await remove(user, of);
  const again = await createUser(of, { email });
  expect((await given(again, of)).trials).toEqual([]);
});

// ---- Policies ----------------------------------------------------------------------------------

test.for([
  [{ p_reduced_percent: 10 }, 10_000],
  [{ p_reduced_percent: 99 }, 99_000],
  [{ p_reduced_tokens: 1_234 }, 1_234],
  [{ p_reduced_tokens: 200_000 }, 100_000],
] as const)("reduced to %j, a second trial gives %i tokens, by whichever way", async ([how, tokens]) => {
  const of = await project({ isDefault: true });
  await choose("reduced", of, how);
  const [first, second] = await waysBack["with the same address, after deleting the account"]!(of);

  expect((await given(first, of)).trials[0]).toBe(100_000);
  expect(await given(second, of)).toEqual({ plan: "trial", trials: [tokens] });
  expect(await take(second, of)).toMatchObject({ tokens_granted: tokens, tokens_limit: 2 * tokens });
  const { payment_id } = await call("create_token_payment", { p_user_id: second, p_to_plan: "trial" }, of);
  expect(
    await call("approve_token_payment", { p_user_id: second, p_payment_id: payment_id }, of),
  ).toMatchObject({ tokens_granted: tokens });
  await call("change_token_plan", { p_user_id: second, p_plan_type: "monthly_trial" }, of);
  await letTimePass(of, second, 57);
  expect(await call("renew_token_subscription", { p_user_id: second }, of)).toMatchObject({
    tokens_granted: tokens,
  });
  expect((await given(await signInAnonymously(of), of)).trials).toEqual([tokens]);
  expect(await check(second, of)).toMatchObject({ trial: "reduced", reason: null });
  await expectCleanBooks(of);
});

test("a reduced trial of few tokens is one token, not none", async () => {
  const of = await project();
  await choose("reduced", of, { p_reduced_percent: 1 });
  await of.admin.query("update public.token_plans set tokens = 7 where plan_type = 'trial'");
  const user = await createUser(of);
  expect((await take(user, of)).tokens_granted).toBe(7);
  expect((await take(user, of)).tokens_granted).toBe(1);
});

test("allowed, each trial is given; refused from then on, those before are remembered", async () => {
  const of = await project({ isDefault: true });
  await choose("allow", of);
  const [first, second] = await waysBack["with the same address, after deleting the account"]!(of);
  const anonymous = await signInAnonymously(of);
  for (const user of [second, anonymous]) expect((await given(user, of)).trials).toEqual([100_000]);
  expect((await given(first, of)).trials).toHaveLength(1);
  expect(await take(second, of)).toMatchObject({ tokens_granted: 100_000 });
  expect(await check(second, of)).toMatchObject({ trial: "full" });

  await choose("refuse", of);

  for (const user of [second, anonymous]) await expect(take(user, of)).rejects.toMatchObject(refused);
  expect(await check(second, of)).toEqual({
    user_id: second,
    trial: "none",
    reason: "trial_already_taken",
    reduced_percent: null,
    reduced_tokens: null,
  });
});

test("the server alone chooses the policy, and it says what goes with it", async () => {
  const of = await project();
  const admin = await createUser(of, { admin: true });
  await expect(
    asAdmin(of, admin, (client) => rpc(client, "set_token_trial_policy", { p_policy: "allow" })),
  ).rejects.toMatchObject({ code: "42501" });
  for (const [wrong, field] of [
    [{ p_policy: null }, "p_policy"],
    [{ p_policy: "twice" }, "p_policy"],
    [{ p_policy: "reduced" }, "p_reduced_percent"],
    [{ p_policy: "reduced", p_reduced_percent: 10, p_reduced_tokens: 10 }, "p_reduced_percent"],
    [{ p_policy: "refuse", p_reduced_percent: 10 }, "p_reduced_percent"],
    [{ p_policy: "allow", p_reduced_tokens: 10 }, "p_reduced_percent"],
    [{ p_policy: "reduced", p_reduced_percent: 0 }, "p_reduced_percent"],
    [{ p_policy: "reduced", p_reduced_percent: 100 }, "p_reduced_percent"],
    [{ p_policy: "reduced", p_reduced_tokens: 0 }, "p_reduced_tokens"],
    [{ p_policy: "reduced", p_reduced_tokens: 1_000_000_000_001 }, "p_reduced_tokens"],
  ] as const) {
    await expect(call("set_token_trial_policy", wrong, of), JSON.stringify(wrong)).rejects.toMatchObject({
      code: "PT400",
      message: "invalid_trial_policy",
      detail: expect.stringContaining(`"${field}"`),
    });
  }
  expect(await choose("reduced", of, { p_reduced_percent: 5 })).toEqual({
    success: true,
    policy: "reduced",
    reduced_percent: 5,
    reduced_tokens: null,
  });
  const { changes } = await call("list_token_changes", {}, of);
  expect(changes[0]).toMatchObject({
    change: "set_token_trial_policy",
    actor_role: "service",
    details: { policy: "reduced", reduced_percent: 5 },
  });
});

// ---- At once -----------------------------------------------------------------------------------

/** One person takes as many trials at once as they can; how many were given, and what came of the others. */
async function atOnce(
  of: Database,
  how: "sign-up" | "change_token_plan",
): Promise<{ trials: number; mix: object }> {
  const mix: Record<string, number> = {};
  const count = (outcome: string) => (mix[outcome] = (mix[outcome] ?? 0) + 1);
  for (let round = 0; round < 5; round++) {
    const name = randomUUID();
    const accounts = Array.from({ length: 10 }, (_, nth) => `${name}+${nth}@example.com`);
    if (how === "sign-up") {
      await Promise.all(
        accounts.map((email) =>
          createUser(of, { email })
            .then((user) => look(user, of))
            .then(() => count("looked")),
        ),
      );
    } else {
      const users = await Promise.all(accounts.map((email) => createUser(of, { email })));
      await Promise.all(
        users.map((user) =>
          take(user, of).then(
            () => count("given"),
            ({ message }: Error) => count(message),
          ),
        ),
      );
    }
  }
  const { rows } = await of.admin.query(
    "select count(*)::int as trials from public.token_balances where grant_type = 'trial'",
  );
  console.log(
    `${how} of 5 people, 10 accounts each at once: trials=${rows[0].trials} mix=${JSON.stringify(mix)}`,
  );
  return { trials: rows[0].trials, mix };
}

test("of ten accounts of one person that sign up at once, one has the trial", async () => {
  const of = await project({ isDefault: true });
  expect(await atOnce(of, "sign-up")).toEqual({ trials: 5, mix: { looked: 50 } });
  const { rows } = await of.admin.query("select * from tokenbook.failed_registrations");
  expect(rows).toEqual([]);
  await expectCleanBooks(of);
});

test("of ten accounts of one person that take the trial at once, one has it", async () => {
  const of = await project();
  expect(await atOnce(of, "change_token_plan")).toEqual({
    trials: 5,
    mix: { given: 5, trial_already_taken: 45 },
  });
  await expectCleanBooks(of);
});

test("a trial that waited for another's transaction is given when that one rolls back", async () => {
  const name = randomUUID();
  const [one, other] = [
    await createUser(db, { email: `${name}@example.com` }),
    await createUser(db, { email: `${name}+2@example.com` }),
  ];
  const client = await db.admin.connect();
  await client.query("begin");
  await client.query("select public.change_token_plan($1, 'trial')", [one]);
  const waiting = take(other);
  await client.query("select pg_sleep(0.2)");
  await client.query("rollback");
  client.release();

  expect(await waiting).toMatchObject({ tokens_granted: 100_000 });
  await expect(take(one)).rejects.toMatchObject(refused);
});

test("the test sees it: looked up before it is remembered", { tags: ["proof"] }, async () => {
  for (const how of ["sign-up", "change_token_plan"] as const) {
    const broken = await project({
      isDefault: how === "sign-up",
      mutant: "trials-looked-up-before-they-are-remembered",
    });
    const { trials } = await atOnce(broken, how);
    console.log(`mutant trials-looked-up-before-they-are-remembered, ${how}: trials=${trials} of 5`);
    expect(trials).toBeGreaterThan(5);
  }
});

// ---- What is kept, and who is told -------------------------------------------------------------

test.for([
  ["ann@example.com", "ann@example.com"],
  ["  Ann@Example.COM \n", "ann@example.com"],
  ["ann+shop@example.com", "ann@example.com"],
  ["ann+shop+more@example.com", "ann@example.com"],
  ["ann+@example.com", "ann@example.com"],
  ["+4915112345@sms.example", "+4915112345@sms.example"],
  ["a.n.n@example.com", "a.n.n@example.com"],
  ["a.n.n@gmail.com", "ann@gmail.com"],
  ["A.N.N+x@GoogleMail.com", "ann@gmail.com"],
  ["a.n.n@mail.gmail.com", "a.n.n@mail.gmail.com"],
  ["a.n.n@gmail.com.example", "a.n.n@gmail.com.example"],
  ["ann@example.com.", "ann@example.com"],
  ['"ann"@example.com', "ann@example.com"],
  ['"a.n.n"@gmail.com', "ann@gmail.com"],
  ['"ann+x"@example.com', "ann@example.com"],
  ['"ann x+y"@example.com', '"ann x+y"@example.com'],
  ['"ann@home"@example.com', '"ann@home"@example.com'],
  ['"ann."@example.com', '"ann."@example.com'],
  ['"a"b"@example.com', '"a"b"@example.com'],
  ["ann@bücher.example", "ann@bücher.example"],
  ["ann@home@example.com", "ann@home@example.com"],
  ["ａｎｎ＠example.com", "ann@example.com"],
  ["ju\u0308rgen@example.com", "jürgen@example.com"],
  ["oﬃce@example.com", "office@example.com"],
  ["ann\u00a0@example.com", "ann @example.com"],
  ["İstanbul@example.com", "İstanbul@example.com"],
  ["用户+标签@example.com", "用户@example.com"],
  ["ann_x-y@example.com", "ann_x-y@example.com"],
  ["not an address", "not an address"],
  ["", ""],
])("the address %j is that of %j", async ([written, normal]) => {
  const { rows } = await db.admin.query(
    "select tokenbook.normal_address($1) as once, tokenbook.normal_address(tokenbook.normal_address($1)) as twice",
    [written],
  );
  expect(rows[0]).toEqual({ once: normal, twice: normal });
});

test("HMAC-SHA256 is RFC 4231's and Node's, for keys and messages of any length", async () => {
  const ours = async (key: Buffer, message: Buffer) =>
    (await db.admin.query("select encode(tokenbook.hmac_sha256($1, $2), 'hex') as digest", [key, message]))
      .rows[0].digest;
  expect(await ours(Buffer.alloc(20, 0x0b), Buffer.from("Hi There"))).toBe(
    "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
  );
  expect(await ours(Buffer.from("Jefe"), Buffer.from("what do ya want for nothing?"))).toBe(
    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
  );
  expect(
    await ours(
      Buffer.alloc(131, 0xaa),
      Buffer.from("Test Using Larger Than Block-Size Key - Hash Key First"),
    ),
  ).toBe("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
  for (const [key, message] of [
    [0, 0],
    [1, 63],
    [32, 64],
    [63, 65],
    [64, 1000],
    [65, 1],
  ] as const) {
    const [k, m] = [Buffer.alloc(key, 7), Buffer.alloc(message, 9)];
    expect(await ours(k, m), `${key} ${message}`).toBe(createHmac("sha256", k).update(m).digest("hex"));
  }
});

test("only keyed digests of a person are kept", async () => {
  const of = await project();
  const email = "ann+shop@example.com";
  const user = await signUpWith("github", "4711", email, of);
  await take(user, of);
  const { rows: keys } = await of.admin.query("select key from tokenbook.trial_keys");
  const { rows } = await of.admin.query("select * from tokenbook.trials_taken");

  const digest = (...by: string[]) =>
    createHmac("sha256", keys[0].key)
      .update(`[${by.map((one) => JSON.stringify(one)).join(", ")}]`)
      .digest("hex");
  expect(rows.map(({ identifier }) => identifier.toString("hex")).toSorted()).toEqual(
    [
      digest("user", user),
      digest("email", "ann@example.com"),
      digest("identity", "github", "4711"),
    ].toSorted(),
  );
  expect(Object.keys(rows[0]).toSorted()).toEqual(["identifier", "taken_at"]);
});

test("each database has a key of its own, also one that was made from the schema alone", async () => {
  const keys = new Set<string>();
  for (const of of [await project(), await project()]) {
    const user = await createUser(of);
    await take(user, of);
    // as after a dump that leaves rows out
    for (const lost of [false, true]) {
      if (lost) {
        await of.admin.query("delete from tokenbook.trial_keys where true");
        await of.admin.query("delete from tokenbook.trials_taken where true");
        await take(user, of);
      }
      const { rows } = await of.admin.query("select encode(key, 'hex') as key from tokenbook.trial_keys");
      expect(rows).toHaveLength(1);
      keys.add(rows[0].key);
    }
  }
  expect(keys.size).toBe(4);
});

test("only admins and the server are told of another user's trial", async () => {
  const [had, never, admin] = [
    await createUser(db),
    await createUser(db),
    await createUser(db, { admin: true }),
  ];
  await take(had);
  const ask = (of: string) => (client: Parameters<typeof rpc>[0]) =>
    rpc(client, "check_token_trial", { p_user_id: of });

  expect(await asUser(db, had, ask(had))).toMatchObject({ trial: "none", reason: "trial_already_taken" });
  expect(await asUser(db, never, ask(never))).toMatchObject({ trial: "full", reason: null });
  expect(await asAdmin(db, admin, ask(had))).toMatchObject({ trial: "none" });
  await expect(check(randomUUID())).rejects.toMatchObject({ message: "user_not_found" });
  await expect(asAnon(db, ask(had))).rejects.toMatchObject({ code: "42501" });
  const answers = await Promise.all(
    [had, admin, randomUUID()].map((other) =>
      asUser(db, never, ask(other)).catch(({ code, message, detail, hint }) => ({
        code,
        message,
        detail,
        hint,
      })),
    ),
  );
  expect(answers[0]).toMatchObject({ code: "42501", message: "forbidden" });
  expect(answers[1]).toEqual(answers[0]);
  expect(answers[2]).toEqual(answers[0]);
});

test("the test sees it: a signed-in user is told of other users' trials", { tags: ["proof"] }, async () => {
  const broken = await project({ mutant: "trials-of-anybody" });
  const [had, nosy] = [await createUser(broken), await createUser(broken)];
  await take(had, broken);
  const told = await asUser(broken, nosy, (client) => rpc(client, "check_token_trial", { p_user_id: had }));
  expect(told).toMatchObject({ reason: "trial_already_taken" });
});

/** Where the key or a digest is to be found in what the API gives out, and in what errors say. */
async function leaks(of: Database, planted = ""): Promise<string[]> {
  const admin = await createUser(of, { admin: true });
  const user = await signUpWith("github", randomUUID(), anAddress(), of);
  const said: Record<string, unknown> = {};
  const note = async (what: string, work: Promise<unknown>) => {
    said[what] = await work.catch(({ code, message, detail, hint, where, internalQuery }) => ({
      code,
      message,
      detail,
      hint,
      where,
      internalQuery,
    }));
  };
  await note("taken", take(user, of));
  await note("refused", take(user, of));
  await note("checked", check(user, of));
  await note("chosen", choose("reduced", of, { p_reduced_percent: 7 }));
  await note("reduced", take(user, of));
  await note("a bad policy", choose("x".repeat(1000), of));
  // a fault of the memory itself
  await of.admin.query("alter table tokenbook.trials_taken rename column identifier to gone");
  await note("a fault", take(user, of));
  await of.admin.query("alter table tokenbook.trials_taken rename column gone to identifier");
  for (const name of [
    "list_token_changes",
    "verify_token_ledger",
    "check_token_installation",
    "checkpoint_token_ledger",
  ])
    await note(name, rows(of, "service_role", `public.${name}()`));
  await note("get_token_history", call("get_token_history", { p_user_id: user }, of));
  const { rows: relations } = await of.admin.query<{ name: string; schema: string }>(
    `select oid::regclass::text as name, relnamespace::regnamespace::text as schema from pg_class
      where relnamespace in ('public'::regnamespace, 'tokenbook'::regnamespace) and relkind in ('r', 'v')`,
  );
  for (const { name } of relations)
    for (const role of ["service_role", "authenticated"])
      await note(`${role} of ${name}`, rows(of, role, name));
  await note(
    "an admin's rows",
    asAdmin(of, admin, async (client) => (await client.query("select * from public.token_accounts")).rows),
  );

  const { rows: secrets } = await of.admin.query<{ secret: Buffer }>(
    "select key as secret from tokenbook.trial_keys union all select identifier from tokenbook.trials_taken",
  );
  expect(secrets.length).toBeGreaterThan(3);
  if (planted === "the key") said["planted"] = secrets[0]!.secret.toString("hex");
  if (planted === "a digest") said["planted"] = [secrets[2]!.secret.toString("base64")];
  return Object.entries(said)
    .filter(([, answer]) => {
      const text = JSON.stringify(answer) ?? "";
      return secrets.some(({ secret }) =>
        [secret.toString("hex"), secret.toString("base64").slice(0, 42), [...secret].join(",")].some((form) =>
          text.includes(form),
        ),
      );
    })
    .map(([what]) => what);
}

const rows = (of: Database, role: string, from: string) =>
  (role === "service_role"
    ? asService
    : (d: Database, fn: Parameters<typeof asService>[1]) => asUser(d, randomUUID(), fn))(
    of,
    async (client) => (await client.query(`select * from ${from} limit 1000`)).rows,
  );

test("neither the key nor a digest is in any answer, table of the API, report or error", async () => {
  expect(await leaks(await project({ isDefault: true }))).toEqual([]);
});

test("the test sees it: the key or a digest in an answer", { tags: ["proof"] }, async () => {
  expect(await leaks(await project({ isDefault: true }), "the key")).toEqual(["planted"]);
  expect(await leaks(await project({ isDefault: true }), "a digest")).toEqual(["planted"]);
});
