/** Users whose books have everything in them that books can have. */
import { asAdmin, asService, asUser, createUser, rpc } from "../../support/roles.ts";
import { letTimePass } from "../../support/time.ts";
import { grant } from "../../support/books.ts";
import { populateUser } from "../../support/populated-user.ts";
import { livesOfPayments } from "./lives-of-payments.ts";
import { oldUser } from "../replay/old-user.ts";
import type { Database } from "../../support/database.ts";
import { dispute, refund, told } from "../../support/provider-events.ts";

/** A user of before the books: they opened with what was left of the user's grants. */
export async function createUserOfBefore(db: Database): Promise<string> {
  const user = await createUser(db);
  await db.admin.query(
    `with grants as (
       insert into public.token_balances (user_id, grant_type, tokens_granted, tokens_remaining, granted_at, is_open, legacy_transaction_id)
       values ($1, 'annual', 1000, 900, now() - interval '90 days', true, 'old-1'),
              ($1, 'trial', 50, 0, now() - interval '80 days', false, 'old-2')
       returning *
     ), account as (
       insert into public.token_accounts (user_id, tokens_remaining, tokens_used, total_cost, last_transaction_id)
       values ($1, 900, 150, 12.5, 1)
     )
     insert into public.token_transactions
       (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason, actor_role, metadata, terms)
     select $1, 1, 'opening_balance', 'opening_balance', 900, 900, array[id], array[900], 'the books open', 'system',
            '{"tokens_used": 150, "total_cost": 12.5}',
            (select jsonb_build_object('grants', jsonb_agg(tokenbook.grant_terms(g::public.token_balances))) from grants g)
       from grants where tokens_remaining > 0`,
    [user],
  );
  return user;
}

/**
 * A bit of everything: grants, use by the user and by the server, a correction, an expiry, payments
 * that were refunded or disputed, debt and its repayment.
 *
 * @param n tells the lives apart
 */
export async function live(db: Database, user: string, admin: string, n: number): Promise<void> {
  const asServer = (name: string, args: Record<string, unknown>) =>
    asService(db, (client) => rpc(client, name, args));
  const asHimself = (name: string, args: Record<string, unknown>) =>
    asUser(db, user, (client) => rpc(client, name, { p_user_id: user, ...args }));
  const pay = (facts: Record<string, unknown>) =>
    asServer("record_token_payment_event", {
      p_provider: "stripe",
      p_event_id: `${facts["kind"]}-${user}`,
      p_event_type: facts["kind"],
      p_provider_payment_id: `pi-${user}`,
      p_facts: told(facts),
    });

  await grant(db, user, 500 + n, { type: "trial", expires_in: "1 hour" });
  await grant(db, user, 1_000 * (n + 1), { key: "pack" });
  await grant(db, user, 300, { type: "28day", key: "monthly" });
  await asHimself("deduct_tokens_with_fifo", { p_tokens_to_deduct: 700 + n, p_idempotency_key: "mine-1" });
  await asHimself("deduct_tokens_with_fifo", { p_tokens_to_deduct: 20, p_idempotency_key: "mine-2" });
  await asAdmin(db, admin, (client) =>
    rpc(client, "adjust_tokens", {
      p_user_id: user,
      p_delta: -7,
      p_reason: "correction",
      p_idempotency_key: "correction",
    }),
  );
  await asAdmin(db, admin, (client) =>
    rpc(client, "adjust_tokens", { p_user_id: user, p_delta: 70, p_reason: "goodwill" }),
  );
  await asHimself("track_token_usage", {
    p_action_type: "chat_conversation",
    p_model_used: "small",
    p_input_tokens: 40,
    p_output_tokens: 30 + n,
  });
  await asHimself("track_token_usage", {
    p_action_type: "image_generation",
    p_tokens_used: 60,
    p_success: false,
    p_error_message: "refused",
  });
  const hold = async (tokens: number) =>
    (
      await asHimself("reserve_tokens", {
        p_tokens: tokens,
        p_ttl_seconds: 3_600,
        p_action_type: "vision_generation",
      })
    ).hold_id as string;
  await asHimself("capture_tokens", { p_hold_id: await hold(40), p_tokens: 25 + n });
  await asHimself("capture_tokens", {
    p_hold_id: await hold(30),
    p_tokens: 45,
    p_model_used: "small",
    p_input_tokens: 45,
    p_output_tokens: 0,
  });
  await asHimself("release_tokens", { p_hold_id: await hold(35) });
  await hold(15); // runs out
  await spendBudget(asHimself, await hold(50));
  const charge = await asHimself("track_token_usage", {
    p_action_type: "assessment_scoring",
    p_tokens_used: 33,
  });
  await asServer("refund_tokens", {
    p_user_id: user,
    p_transaction_id: charge.transaction_id,
    p_tokens: 11,
    p_reason: "too slow",
  });
  const promised = await grant(db, user, 7, { type: "admin" });
  for (const p_expires_at of ["2998-01-01T00:00:00Z", "infinity"])
    await asServer("set_token_grant_expiry", {
      p_user_id: user,
      p_grant_id: promised,
      p_expires_at,
      p_reason: "a promise",
    });
  await asServer("grant_tokens", {
    p_user_id: user,
    p_tokens: 30,
    p_priority: 0,
    p_pays_for: { actions: ["chat_conversation"], models: ["small*"] },
    p_cost_basis_cents: 900,
    p_currency: "eur",
  });
  await asHimself("track_token_usage", {
    p_action_type: "chat_conversation",
    p_model_used: "small",
    p_tokens_used: 12,
  });
  await asServer("void_token_grant", {
    p_user_id: user,
    p_grant_id: await grant(db, user, 25, { type: "admin" }),
    p_reason: "by mistake",
  });
  const inDays = (days: number) => new Date(Date.now() + days * 86_400_000).toISOString();
  const toCome: string[] = [];
  for (const days of [0.5, 0.6, 20, 30])
    toCome.push(
      (
        await asServer("grant_tokens", {
          p_user_id: user,
          p_tokens: 20 + n,
          p_grant_type: days < 20 ? "purchase" : "admin",
          p_reason: "later",
          p_idempotency_key: days === 30 ? "later" : null,
          p_starts_at: inDays(days),
        })
      ).grant_id,
    );
  await asServer("void_token_grant", { p_user_id: user, p_grant_id: toCome[2], p_reason: "not later" });
  await pay({ kind: "paid", user_id: user, plan_type: "starter", amount_cents: 900 });
  await letTimePass(db, user, 1);
  await asHimself("get_user_token_balance", {});
  await asHimself("deduct_tokens_with_fifo", { p_tokens_to_deduct: 300 });
  if (n % 3 === 0) {
    await asServer("track_token_usage", {
      p_user_id: user,
      p_action_type: "audio_generation",
      p_tokens_used: 10_000_000,
      p_on_shortage: "partial",
    });
    await pay({ kind: "refunded", refunded_cents: 900 });
    await grant(db, user, 5_000, { type: "admin" });
  } else if (n % 3 === 1) {
    await pay(dispute("open"));
    await pay(dispute("won"));
    await pay(dispute("lost", "dp_2", 450));
    await pay(refund("re_1", 300, "pending"));
    await pay(refund("re_1", 300, "failed"));
  }
  await grant(db, user, 80);
  if (n % 2 === 0) await hold(60);
}

/** The calls of one task: one used less than it held, one more, one runs; and the budget is still there. */
async function spendBudget(
  asHimself: (name: string, args: Record<string, unknown>) => Promise<Record<string, unknown>>,
  budget: string,
): Promise<void> {
  const step = async (tokens: number, key?: string) =>
    (
      await asHimself("reserve_tokens", {
        p_tokens: tokens,
        p_ttl_seconds: 3_600,
        p_parent_hold: budget,
        p_idempotency_key: key,
      })
    )["hold_id"];
  await asHimself("capture_tokens", { p_hold_id: await step(20, "step-1"), p_tokens: 12 });
  await asHimself("capture_tokens", { p_hold_id: await step(5), p_tokens: 9, p_over_capture: "partial" });
  await asHimself("release_tokens", { p_hold_id: await step(3) });
  await step(8);
}

/** A user of before the books whose grants had all been left full, though they had been used. */
export async function createUserToRestate(db: Database): Promise<string> {
  const { user } = await oldUser(db, {
    grants: [
      { tokens: 100, granted: "10 days" },
      { tokens: 100, granted: "9 days", expires: "30 days" },
    ],
    deductions: [[140, "5 days"]],
  });
  return user;
}

/** Plans that carry over, that fill up, that cost nothing, and that give a bit every day, beside the catalogue's; and two packs. */
const plans = `
  insert into public.token_plans
    (plan_type, name, tokens, storage_gb, price_cents, billing_cycle, grant_lifetime_days, balance_cap, rollover_percent, rollover_lifetime_days, rank)
  values ('carries', 'Carries over', 1000, 10, 900, '28day', 28, null, 50, 56, 12),
         ('fills', 'Fills up', 1000, 0, 800, '28day', null, 1000, null, null, 11),
         ('lends', 'Costs nothing', 100, 0, 0, '28day', null, null, null, null, 1);
  insert into public.token_plans (plan_type, name, tokens, issue_every, refill_to, grant_lifetime_days, price_cents, rank)
  values ('drips', 'Drips', 10, 'day', null, null, 0, 2), ('refills', 'Refills', 60, 'day', 100, 30, 900, 3);
  insert into public.token_packs (pack_type, name, tokens, lifetime_days, price_cents)
  values ('one', 'One', 1000, null, 500), ('another', 'Another', 700, 30, 300)`;

/**
 * What takes a user of its own each: plans that carry over, fill up and are left; payments by hand and by
 * providers, refunded in part and in whole, refused, waiting and of nobody; what came back to a full grant; a
 * restated history; teams; alerts and top-ups.
 *
 * @param old a user of before the books whom they gave too much
 */
export async function livesOfTheirOwn(db: Database, admin: string, old: string): Promise<string[]> {
  await db.admin.query(plans);
  const asServer = (name: string, args: Record<string, unknown>) =>
    asService(db, (client) => rpc(client, name, args));
  const about =
    (user: string) =>
    (name: string, args: Record<string, unknown> = {}) =>
      asServer(name, { p_user_id: user, ...args });
  const byAdmin = (user: string, name: string, args: Record<string, unknown>) =>
    asAdmin(db, admin, (client) => rpc(client, name, { p_user_id: user, ...args }));
  const ask = (user: string, plan: string, key: string) =>
    asUser(db, user, (client) =>
      rpc(client, "create_token_payment", { p_user_id: user, p_to_plan: plan, p_idempotency_key: key }),
    ).then(({ payment_id }) => payment_id as string);
  const event = (id: string, of: string, facts: Record<string, unknown>) =>
    asServer("record_token_payment_event", {
      p_provider: "stripe",
      p_event_id: id,
      p_event_type: facts["kind"],
      p_provider_payment_id: of,
      p_facts: told(facts),
    });
  const users = await Promise.all(Array.from({ length: 14 }, () => createUser(db)));
  const [carries, fills, leaves, left, pays, lost, asks, leads, packs, splits, drips, refills, owes, twice] =
    users as [
      string,
      string,
      string,
      string,
      string,
      string,
      string,
      string,
      string,
      string,
      string,
      string,
      string,
      string,
    ];

  for (const [user, plan] of [
    [carries, "carries"],
    [fills, "fills"],
  ] as const) {
    const call = about(user);
    await call("change_token_plan", { p_plan_type: plan, p_payment_method: "card", p_payment_id: "sub-1" });
    await call("deduct_tokens_with_fifo", { p_tokens_to_deduct: 100, p_idempotency_key: "spent" });
    const held = await call("reserve_tokens", {
      p_tokens: 40,
      p_ttl_seconds: 900,
      p_idempotency_key: "held",
    });
    await call("capture_tokens", { p_hold_id: held.hold_id, p_tokens: 0 });
    if (plan === "fills") await grant(db, user, 5_000);
    await grant(db, user, 30, { expires_in: "1 hour", priority: 0, cost: 90 });
    const early = await call("deduct_tokens_with_fifo", { p_tokens_to_deduct: 30 });
    await letTimePass(db, user, 28);
    await call("renew_token_subscription");
    await call("refund_tokens", {
      p_transaction_id: early.transaction_id,
      p_reason: "late",
      p_expired_policy: "reissue",
      p_lifetime_days: 30,
    });
    await call("deduct_tokens_with_fifo", { p_tokens_to_deduct: 10 });
    await call("reserve_tokens", { p_tokens: 5, p_ttl_seconds: 9_000, p_idempotency_key: "holding" });
  }

  for (const user of [leaves, left]) {
    const call = about(user);
    await call("change_token_plan", {
      p_plan_type: "carries",
      p_payment_method: "card",
      p_payment_id: "sub-2",
    });
    await call("change_token_plan", { p_plan_type: "lends" });
    if (user === left) {
      await letTimePass(db, user, 28);
      await ask(user, "starter", "again");
    }
  }

  const approved = await ask(pays, "starter", "first");
  await byAdmin(pays, "approve_token_payment", { p_payment_id: approved, p_reason: "seen on the account" });
  await byAdmin(pays, "refund_token_payment", {
    p_payment_id: approved,
    p_reason: "a part",
    p_refunded_cents: 301,
  });
  const whole = await ask(pays, "grow", "second");
  await about(pays)("approve_token_payment", { p_payment_id: whole });
  await about(pays)("refund_token_payment", { p_payment_id: whole, p_reason: "all of it" });
  await byAdmin(pays, "reject_token_payment", {
    p_payment_id: await ask(pays, "annual", "third"),
    p_reason: "no money came",
  });
  await ask(pays, "annual", "fourth");
  await byAdmin(pays, "void_token_grant", {
    p_grant_id: await grant(db, pays, 70, { type: "annual", expires_in: "9 days", key: "mistaken" }),
    p_reason: "a mistake",
    p_take_back: true,
  });

  const askForPacks = (pack: string, quantity: number) =>
    asUser(db, packs, (client) =>
      rpc(client, "create_token_payment", { p_user_id: packs, p_pack_type: pack, p_quantity: quantity }),
    ).then(({ payment_id }) => payment_id as string);
  const three = await askForPacks("one", 3);
  await byAdmin(packs, "approve_token_payment", { p_payment_id: three, p_reason: "seen on the account" });
  await byAdmin(packs, "refund_token_payment", {
    p_payment_id: three,
    p_reason: "one of the three",
    p_refunded_cents: 500,
  });
  await about(packs)("approve_token_payment", { p_payment_id: await askForPacks("another", 1) });
  await askForPacks("another", 2);
  await about(packs)("deduct_tokens_with_fifo", { p_tokens_to_deduct: 900 });
  await about(packs)("set_token_top_up", { p_below_tokens: 5_000, p_pack_type: "another", p_quantity: 4 });

  await event("evt-parked", "pi-parked", {
    kind: "paid",
    amount_cents: 700,
    currency: "eur",
    customer_id: "cus-nobody",
    price_id: "price-unknown",
  });
  // of nobody, given to somebody; of two payments, one of which had been booked by itself; told in two ways
  await event("evt-given", "pi-given", { kind: "paid", amount_cents: 900, currency: "usd" });
  await asAdmin(db, admin, (client) =>
    rpc(client, "assign_parked_token_payment", {
      p_provider: "stripe",
      p_provider_payment_id: "pi-given",
      p_user_id: splits,
      p_plan_type: "starter",
    }),
  );
  const invoice = { kind: "paid", user_id: splits, plan_type: "starter", amount_cents: 900, currency: "usd" };
  await event("evt-second", "pi-second", invoice);
  await event("evt-first", "pi-first", {
    ...invoice,
    parts: ["pi-second", "pi-third"],
    customer_id: "cus-splits",
  });
  await event("evt-third", "pi-third", { kind: "refunded", refunded_cents: 400, amount_cents: 400 });
  await event("evt-more", "pi-first", { ...invoice, plan_type: "grow", amount_cents: 1_000 });
  await event("evt-paid", "pi-lost", {
    kind: "paid",
    user_id: lost,
    plan_type: "starter",
    amount_cents: 900,
    currency: "usd",
    period_start: new Date().toISOString(),
  });
  await event("evt-part", "pi-lost", { kind: "refunded", refunded_cents: 100, currency: "usd" });
  const all = await about(lost)("track_token_usage", {
    p_action_type: "chat_conversation",
    p_tokens_used: 10_000_000,
    p_on_shortage: "partial",
    p_model_used: "small",
    p_input_tokens: 7,
    p_idempotency_key: "everything",
  });
  await event("evt-dispute", "pi-lost", dispute("open"));
  await grant(db, lost, 5_000_000, { priority: 20, expires_in: "90 days" });
  await event("evt-won", "pi-lost", dispute("won"));
  await about(lost)("refund_tokens", {
    p_transaction_id: all.transaction_id,
    p_reason: "nothing came of it",
  });

  // two disputes: the one that is won first lets off what is owed for the other, whose grant then gets back what was
  // never taken from it, and is full when its charge is refunded
  const buy = (payment: string) =>
    event(`evt-paid-${payment}`, payment, {
      kind: "paid",
      user_id: twice,
      pack_type: "one",
      amount_cents: 500,
      currency: "usd",
    });
  await buy("pi-twice");
  const used = await about(twice)("track_token_usage", {
    p_action_type: "chat_conversation",
    p_tokens_used: 10_000_000,
    p_on_shortage: "partial",
  });
  await buy("pi-twice-too");
  await event("evt-twice-too", "pi-twice-too", dispute("open", "dp_too"));
  await event("evt-twice", "pi-twice", dispute("open"));
  await event("evt-twice-too-won", "pi-twice-too", dispute("won", "dp_too"));
  await event("evt-twice-won", "pi-twice", dispute("won"));
  await about(twice)("refund_tokens", { p_transaction_id: used.transaction_id, p_reason: "nothing came" });

  for (const [user, days] of [
    [drips, 3],
    [refills, 2],
  ] as const) {
    if (user === drips) await about(user)("change_token_plan", { p_plan_type: "drips" });
    else {
      await event(`evt-${user}`, "pi-refills", {
        kind: "paid",
        user_id: user,
        plan_type: "refills",
        amount_cents: 900,
      });
      await event(`evt-part-${user}`, "pi-refills", { kind: "refunded", refunded_cents: 300 });
    }
    await about(user)("deduct_tokens_with_fifo", { p_tokens_to_deduct: user === drips ? 5 : 10_000 });
    for (let time = 0; time < 2; time++) {
      await letTimePass(db, user, days);
      await about(user)("get_user_token_balance");
    }
    await about(user)("deduct_tokens_with_fifo", { p_tokens_to_deduct: 20 });
  }

  await grant(db, owes, 40);
  await about(owes)("set_token_overdraft", { p_tokens: 200, p_reason: "trusted" });
  const overdrawn = await about(owes)("track_token_usage", {
    p_action_type: "image_generation",
    p_tokens_used: 100,
    p_on_shortage: "overdraft",
    p_idempotency_key: "overdrawn",
  });
  const overrun = await grant(db, owes, 80).then(() => about(owes)("reserve_tokens", { p_tokens: 15 }));
  await about(owes)("capture_tokens", {
    p_hold_id: overrun.hold_id,
    p_tokens: 60,
    p_over_capture: "overdraft",
    p_model_used: "gpt-5-mini",
  });
  await about(owes)("refund_tokens", {
    p_transaction_id: overdrawn.transaction_id,
    p_tokens: 50,
    p_reason: "late",
  });

  const restated = await about(old)("restate_token_balances", {
    p_reason: "exact history",
    p_idempotency_key: "once",
  });
  await about(old)("reverse_token_restatement", {
    p_transaction_id: restated.transaction_ids[0],
    p_reason: "too strict",
  });

  await asServer("set_token_alert_rule", {
    p_user_id: asks,
    p_rule: "low",
    p_kind: "dropped",
    p_threshold_tokens: 80,
  });
  await asServer("set_token_alert_rule", {
    p_user_id: asks,
    p_rule: "soon",
    p_kind: "expiring_soon",
    p_hours: 48,
  });
  await grant(db, asks, 100, { expires_in: "24 hours" });
  await about(asks)("set_token_top_up", { p_below_tokens: 60, p_tokens: 500 });
  await about(asks)("deduct_tokens_with_fifo", { p_tokens_to_deduct: 50 });

  await grant(db, leads, 1_000);
  const members = await Promise.all(Array.from({ length: 2 }, () => createUser(db)));
  for (const member of members) {
    await about(leads)("add_token_team_member", { p_member_id: member, p_cap_day: 500, p_cap_month: 900 });
    await about(member)("deduct_tokens_with_fifo", { p_tokens_to_deduct: 25, p_idempotency_key: "team" });
    await about(member)("track_token_usage", { p_action_type: "image_generation", p_tokens_used: 5 });
    await about(member)("reserve_tokens", { p_tokens: 7 });
  }
  await about(leads)("remove_token_team_member", { p_member_id: members[1] });
  await about(leads)("set_token_spend_cap", { p_window: "week", p_tokens: 800, p_reason: "a tight week" });

  const populated = await populateUser(db);
  return [...users, ...members, populated.id, populated.member, ...(await livesOfPayments(db, admin))];
}
