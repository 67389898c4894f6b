/** A user of whom every table says something, so that there is something to see, to change and to lose. */
import { archiveUse } from "./archived-usage.ts";
import { randomUUID } from "node:crypto";
import { asService, asUser, createUser, rpc } from "./roles.ts";
import { grant } from "./books.ts";
import { told } from "./provider-events.ts";
import type { Database } from "./database.ts";

/** A user and the ids of their rows, by the name of the parameter that would take each. */
export interface PopulatedUser {
  id: string;
  /** Is in every text of the user: their email, keys, reasons and metadata. */
  mark: string;
  /** The member who spends from the user's account. */
  member: string;
  things: {
    p_grant_id: string;
    /** Open. */
    p_hold_id: string;
    /** Waits for a decision. */
    p_payment_id: string;
    p_usage_id: string;
    p_request_id: string;
    /** Of a webhook that is being delivered. */
    p_claim_id: string;
    /** A deduction that can be refunded; numbered per user. */
    p_transaction_id: number;
    p_delivery_id: number;
    p_idempotency_key: string;
    p_provider_payment_id: string;
    /** Can be redeemed, and ended. */
    p_code: string;
    p_code_id: string;
    /** The member's. */
    p_referral_code: string;
    /** When all of the user's rows were there. */
    p_at: string;
  };
}

/** Makes one; none of their grants and holds runs out while a test runs. */
export async function populateUser(
  db: Database,
  mark = `mark-${randomUUID().slice(0, 8)}`,
): Promise<PopulatedUser> {
  const id = await createUser(db, { email: `${mark}@example.com` });
  const member = await createUser(db, { email: `member-of-${mark}@example.com` });
  const asServer = (name: string, args: Record<string, unknown>) =>
    asService(db, (client) => rpc(client, name, args));
  const asHimself = (name: string, args: Record<string, unknown>) =>
    asUser(db, id, (client) => rpc(client, name, { p_user_id: id, ...args }));

  await asServer("set_token_webhook_endpoint", { p_name: "app", p_url: "https://example.com/tokens" });
  if (await hasProfiles(db))
    await db.admin.query("insert into public.user_profiles (user_id) values ($1) on conflict do nothing", [
      id,
    ]);
  await db.admin.query(
    `insert into public.token_legacy_transactions (user_id, id, legacy_id, action_type, tokens, metadata, created_at)
     values ($1, 0, $2, 'chat_conversation', -7, jsonb_build_object('of', $2::text), now() - interval '1 year')`,
    [id, mark],
  );
  await db.admin.query(
    "insert into public.token_storage_quotas (user_id, quota_gb, metadata) values ($1, 5, jsonb_build_object('of', $2::text))",
    [id, mark],
  );
  await db.admin.query(
    `insert into tokenbook.acknowledged_findings (user_id, transaction_id, booked_at, reason, actor_role)
     values ($1, 1, now() - interval '1 year', $2, 'service')`,
    [id, mark],
  );
  await asServer("change_token_plan", {
    p_user_id: id,
    p_plan_type: "professional",
    p_payment_id: mark,
    p_idempotency_key: `${mark}-plan`,
  });
  const grantId = await grant(db, id, 5_000, { key: `${mark}-grant` });
  const key = `${mark}-deduct`;
  const charge = await asHimself("deduct_tokens_with_fifo", {
    p_tokens_to_deduct: 40,
    p_idempotency_key: key,
    p_metadata: { of: mark, article_id: mark },
  });
  const usage = await asHimself("track_token_usage", {
    p_action_type: "chat_conversation",
    p_tokens_used: 30,
    p_metadata: { of: mark },
  });
  await asHimself("track_token_usage", {
    p_action_type: "image_generation",
    p_tokens_used: 3,
    p_success: false,
    p_error_message: mark,
  });
  await asServer("adjust_tokens", { p_user_id: id, p_delta: 11, p_reason: mark });
  await asServer("add_token_team_member", { p_user_id: id, p_member_id: member, p_cap_day: 100 });
  await asServer("set_token_spend_cap", {
    p_user_id: id,
    p_window: "day",
    p_tokens: 1_000_000_000,
    p_reason: mark,
  });
  const hold = await asHimself("reserve_tokens", {
    p_tokens: 50,
    p_ttl_seconds: 86_400,
    p_metadata: { of: mark },
  });
  const payment = await asHimself("create_token_payment", {
    p_to_plan: "annual",
    p_idempotency_key: `${mark}-payment`,
  });
  const paid = `pi-${mark}`;
  await asServer("record_token_payment_event", {
    p_provider: "stripe",
    p_event_id: `evt-${mark}`,
    p_event_type: "paid",
    p_provider_payment_id: paid,
    p_facts: told({
      kind: "paid",
      user_id: id,
      customer_id: `cus-${mark}`,
      plan_type: "professional",
      amount_cents: 3900,
      currency: "usd",
    }),
  });
  await asServer("record_token_subscription_event", {
    p_provider: "stripe",
    p_event_id: `evt-sub-${mark}`,
    p_event_type: "customer.subscription.created",
    p_provider_subscription_id: `sub-${mark}`,
    p_facts: told({
      kind: "subscription",
      user_id: id,
      customer_id: `cus-${mark}`,
      plan_type: "professional",
      status: "active",
    }),
  });
  await asServer("set_token_alert_rule", {
    p_user_id: id,
    p_rule: "low",
    p_kind: "dropped",
    p_threshold_tokens: 1_000_000_000,
  });
  // below it already: asked for at once, and told so by an alert
  const topUp = await asHimself("set_token_top_up", {
    p_below_tokens: 1_000_000_000,
    p_tokens: 500,
    p_cooldown_seconds: 2_592_000,
  });
  const claims = (await asService(db, (client) =>
    client
      .query("select * from public.claim_token_webhooks('app', 200, 3600) where user_id = $1", [id])
      .then(({ rows }) => rows),
  )) as { delivery_id: string; claim_id: string }[];
  const code = await asServer("create_token_code", { p_tokens: 3, p_name: "a code", p_max_redemptions: 100 });
  const referral = await asServer("get_token_referral_code", { p_user_id: member });
  await asServer("checkpoint_token_ledger", { p_user_id: id });
  const { rows } = await db.admin.query<{ id: string; now: string }>(
    "select id, to_json(clock_timestamp()) as now from public.token_usage where user_id = $1 and transaction_id = $2",
    [id, usage.transaction_id],
  );
  return {
    id,
    mark,
    member,
    things: {
      p_grant_id: grantId,
      p_hold_id: hold.hold_id,
      p_payment_id: payment.payment_id,
      p_usage_id: rows[0]!.id,
      p_request_id: topUp.pending_request_id,
      p_claim_id: claims[0]!.claim_id,
      p_transaction_id: charge.transaction_id,
      p_delivery_id: Number(claims[0]!.delivery_id),
      p_idempotency_key: key,
      p_provider_payment_id: paid,
      p_code: code.code,
      p_code_id: code.code_id,
      p_referral_code: referral.code,
      p_at: rows[0]!.now,
    },
  };
}

/** Whatever else a table can know of a user. */
export async function isKnownEverywhere(db: Database, life: PopulatedUser): Promise<void> {
  await signsInElsewhere(db, life);
  await hasACounter(db, life);
  await archiveUse(db, life.id, `archived-${life.mark}`);
  await isReportedOn(db, life);
  await triesCodes(db, life);
  await isPromisedAGrant(db, life);
  await isBeingTold(db);
  await isATestUser(db, life);
  await cameFromElsewhere(db, life);
}

/** Their books came from another project. */
const cameFromElsewhere = (db: Database, { id }: PopulatedUser) =>
  db.admin.query(
    `insert into tokenbook.moves (user_id, id, direction, phase, place, former_state, settled_at)
     values ($1, gen_random_uuid(), 'in', 'arrived', 'home', 'active', now())`,
    [id],
  );

/** Their clock may be advanced. */
const isATestUser = (db: Database, { id }: PopulatedUser) =>
  db.admin.query("insert into tokenbook.test_users (user_id) values ($1)", [id]);

/** Another auth server knows them: forgotten on request alone. */
const signsInElsewhere = (db: Database, { id, mark }: PopulatedUser) =>
  asService(db, (client) =>
    rpc(client, "set_token_subject", {
      p_user_id: id,
      p_issuer: "https://auth.example",
      p_subject: mark,
    }),
  );

/** A shadow of the project's own counter runs. */
const hasACounter = (db: Database, { id }: PopulatedUser) =>
  db.admin.query(
    "insert into tokenbook.shadow_balances (user_id, source, amount, tokens) values ($1, 'a.counter', 7, 7)",
    [id],
  );

/** They had more uses than one report adds up. */
const isReportedOn = (db: Database, { id }: PopulatedUser) =>
  db.admin.query(
    `with mark as (insert into tokenbook.usage_marks (user_id) values ($1))
     insert into tokenbook.usage_totals
     values ($1, 'day', '2026-01-01', 'chat', '', '00000000-0000-0000-0000-000000000000', 1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0)`,
    [id],
  );

/** What there is to send of them is being sent: nobody else takes it up. */
const isBeingTold = (db: Database) =>
  asService(db, (client) => client.query("select public.claim_token_webhooks('app', 200, 3600)"));

/** A grant of theirs is still to come. */
const isPromisedAGrant = (db: Database, { id }: PopulatedUser) =>
  asService(db, (client) =>
    rpc(client, "grant_tokens", {
      p_user_id: id,
      p_tokens: 5,
      p_starts_at: new Date(Date.now() + 86_400_000).toISOString(),
    }),
  );

/** They have redeemed a code, and tried one that there is not; they were referred, and refer others. */
const triesCodes = (db: Database, { id, member, things }: PopulatedUser) =>
  asService(db, async (client) => {
    for (const one of [things.p_code, "NO-SUCH-CODE"])
      await rpc(client, "redeem_token_code", { p_user_id: id, p_code: one });
    await rpc(client, "get_token_referral_code", { p_user_id: id });
    await db.admin.query("insert into tokenbook.referrals (user_id, referrer_id) values ($1, $2)", [
      id,
      member,
    ]);
  });

/** Whether the app of this repository is there: no other project has its profiles. */
async function hasProfiles(db: Database): Promise<boolean> {
  const { rows } = await db.admin.query("select to_regclass('public.user_profiles') is not null as has");
  return rows[0].has as boolean;
}
