/**
 * One example call of every public function, on the demo data: docs/reference.md shows each in SQL, TypeScript and curl,
 * and tests/examples/reference.test.ts runs what it shows. The order of subjects and functions is the page's.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { projectRoot } from "../../project.ts";

export type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };

/** Who calls: alice, admin@example.com, or the server with its secret key. In SQL it is the database's owner. */
export type By = "user" | "admin" | "server";

/** A call of a function, by the names of its parameters. */
export interface Call {
  by: By;
  args: Readonly<Record<string, Json>>;
}

export interface ExampleCall extends Call {
  /** What must be there, made by other public functions first. */
  before?: readonly Before[];
  /** What must be there and no public function makes. */
  given?: Given;
  /** Names in the answer whose numbers come from a sequence of the whole project. */
  drawn?: readonly string[];
}

/** A state of the books that the owner of the tables makes. */
export interface Given {
  /** After "Here". */
  words: string;
  sql: () => string;
}

export interface Before extends Call {
  call: string;
  /** Values that the example names, by where they are in this call's answer. */
  gives?: Readonly<Record<string, string | number>>;
}

/** A field that PostgREST computes of each row of a table. */
export interface ExampleField {
  by: By;
  of: string;
  where: Readonly<Record<string, string | number>>;
}

export type Example = ExampleCall | ExampleField;

/** The people of supabase/seed.sql who are called about. */
const alice = "a11ce000-0000-4000-8000-000000000001";
const bob = "b0b00000-0000-4000-8000-000000000002";
const carol = "ca401000-0000-4000-8000-000000000004";
const dave = "dafe0000-0000-4000-8000-000000000005";
const erin = "e4100000-0000-4000-8000-000000000006";
const frank = "f4a00000-0000-4000-8000-000000000007";
const grace = "94ace000-0000-4000-8000-000000000008";
const heidi = "4e1d1000-0000-4000-8000-000000000009";
const ivy = "14100000-0000-4000-8000-00000000000a";
/** And of scripts/sql/broken-books.sql. */
const published = "d15c0000-0000-4000-8000-000000000001";
const costMismatch = "d15c0000-0000-4000-8000-000000000004";
const brokenBooks: Given = {
  words: "the users of `npm run demo:broken` are there, whose books are wrong on purpose",
  sql: () => readFileSync(join(projectRoot, "scripts/sql/broken-books.sql"), "utf8"),
};

/** The moment at which the page's examples are called, and one a month later: each run puts its own in their place. */
export const moments = { now: "2026-01-15T12:00:00Z", later: "2026-02-14T12:00:00Z" } as const;

/** What an example names and a call before it makes; each run puts its own in their place. */
const hold = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
const grant = "3d813cbb-47fb-42ba-91df-831e1593ac29";
const payment = "9b2f6a1e-58a3-4c39-8f9d-2a7d40c1b6e5";
const code = "c56a4180-65aa-42ec-a945-5fd21dec0538";
const request = "f81d4fae-7dec-41d0-a765-00a0c91e6bf6";
const claim = "16fd2706-8baf-433b-82eb-8c7fada847da";
export const delivery = 90_417;
export const referral = "K7QX-2M9D-TRWA";
const checkpoint = [
  `tokenbook checkpoint 1 of ${alice} at 2026-01-15T12:00:00.000000Z`,
  `${alice} 3 8d3f… 41ab…`,
];

const pendingOf = (user: string, key: string): Before => ({
  by: "server",
  call: "create_token_payment",
  args: { p_user_id: user, p_pack_type: "pack_500k", p_idempotency_key: key },
  gives: { payment_id: payment },
});
const approved = (user: string): Before => ({
  by: "server",
  call: "approve_token_payment",
  args: { p_user_id: user, p_payment_id: payment },
});
const parked = (id: string): Before => ({
  by: "server",
  call: "record_token_payment_event",
  args: {
    p_provider: "stripe",
    p_event_id: `evt_${id}`,
    p_event_type: "payment_intent.succeeded",
    p_provider_payment_id: `pi_${id}`,
    p_facts: { kind: "paid", occurred_at: moments.now, amount_cents: 900, currency: "usd" },
  },
});
const priced: Before = {
  by: "server",
  call: "set_token_pack",
  args: { p_pack_type: "pack_500k", p_pack: { stripe_price_id: "price_500k" }, p_reason: "sold at Stripe" },
};
const endpoint: Before = {
  by: "server",
  call: "set_token_webhook_endpoint",
  args: { p_name: "app", p_url: "https://app.example.com/hooks/tokens" },
};
/** Something that the endpoint is told of. */
const event = (key: string): Before => ({
  by: "server",
  call: "grant_tokens",
  args: { p_user_id: carol, p_tokens: 100, p_grant_type: "purchase", p_idempotency_key: key },
});
const topUp: Before = {
  by: "server",
  call: "set_token_top_up",
  args: { p_user_id: heidi, p_below_tokens: 5000, p_pack_type: "pack_500k" },
};
const given = (key: string): Before => ({
  by: "server",
  call: "grant_tokens",
  args: { p_user_id: bob, p_tokens: 20_000, p_grant_type: "purchase", p_idempotency_key: key },
  gives: { grant_id: grant },
});
const held = (key: string): Before => ({
  by: "user",
  call: "reserve_tokens",
  args: { p_user_id: alice, p_tokens: 4000, p_action_type: "chat_conversation", p_idempotency_key: key },
  gives: { hold_id: hold },
});
const made = (text: string): Before => ({
  by: "server",
  call: "create_token_code",
  args: { p_tokens: 5000, p_name: "spring letter", p_max_redemptions: 500, p_code: text },
  gives: { code_id: code },
});

/** By subject, each with its functions. */
export const exampleCalls: Readonly<Record<string, Readonly<Record<string, Example>>>> = {
  "Balance and history": {
    get_user_token_balance: { by: "user", args: { p_user_id: alice } },
    can_spend_tokens: { by: "user", args: { p_tokens: 10_000, p_user_id: alice } },
    get_token_history: { by: "user", args: { p_user_id: alice, p_limit: 2 } },
    get_token_balance_as_of: { by: "user", args: { p_user_id: alice, p_at: moments.now } },
    tokens_used: { by: "server", of: "token_transactions", where: { user_id: erin, id: 3 } },
  },
  Spending: {
    deduct_tokens_with_fifo: {
      by: "user",
      args: {
        p_user_id: alice,
        p_tokens_to_deduct: 1500,
        p_action_type: "chat_conversation",
        p_idempotency_key: "answer-17",
      },
    },
    deduct_tokens_batch: {
      by: "server",
      args: {
        p_items: [
          { user_id: alice, tokens: 1200, action_type: "chat_conversation", idempotency_key: "job-1" },
          { user_id: erin, tokens: 300, action_type: "seo_title", idempotency_key: "job-2" },
        ],
      },
    },
    track_token_usage: {
      by: "user",
      args: {
        p_user_id: alice,
        p_action_type: "chat_conversation",
        p_model_used: "gpt-5-mini",
        p_input_tokens: 1200,
        p_output_tokens: 345,
        p_idempotency_key: "request-8",
      },
    },
    estimate_tokens: {
      by: "user",
      args: {
        p_user_id: alice,
        p_action_type: "chat_conversation",
        p_model_used: "gpt-5-mini",
        p_input_tokens: 1200,
        p_output_tokens: 345,
      },
    },
    explain_token_charge: { by: "admin", args: { p_user_id: erin, p_transaction_id: 3 } },
    refund_tokens: {
      by: "admin",
      args: {
        p_user_id: erin,
        p_transaction_id: 3,
        p_tokens: 100,
        p_reason: "the title was empty",
        p_idempotency_key: "ticket-4712",
      },
    },
    adjust_tokens: {
      by: "admin",
      args: {
        p_user_id: bob,
        p_delta: 10_000,
        p_reason: "goodwill, ticket 4711",
        p_idempotency_key: "ticket-4711",
      },
    },
  },
  Holds: {
    reserve_tokens: {
      by: "user",
      args: {
        p_user_id: alice,
        p_tokens: 4000,
        p_ttl_seconds: 900,
        p_action_type: "chat_conversation",
        p_idempotency_key: "answer-18",
      },
    },
    capture_tokens: {
      by: "user",
      args: { p_user_id: alice, p_hold_id: hold, p_tokens: 2750 },
      before: [held("answer-19")],
    },
    release_tokens: {
      by: "user",
      args: { p_user_id: alice, p_hold_id: hold },
      before: [held("answer-20")],
    },
  },
  Grants: {
    grant_tokens: {
      by: "server",
      args: {
        p_user_id: bob,
        p_tokens: 50_000,
        p_grant_type: "purchase",
        p_reason: "first pack",
        p_idempotency_key: "order-17",
      },
    },
    list_upcoming_token_grants: {
      by: "admin",
      args: { p_user_id: carol },
      before: [
        {
          by: "server",
          call: "grant_tokens",
          args: {
            p_user_id: carol,
            p_tokens: 1000,
            p_grant_type: "bonus",
            p_starts_at: moments.later,
            p_idempotency_key: "birthday",
          },
        },
      ],
    },
    set_token_grant_expiry: {
      by: "admin",
      args: {
        p_user_id: bob,
        p_grant_id: grant,
        p_expires_at: moments.later,
        p_reason: "a month of thanks",
        p_idempotency_key: "ticket-4713",
      },
      before: [given("order-18")],
    },
    void_token_grant: {
      by: "admin",
      args: {
        p_user_id: bob,
        p_grant_id: grant,
        p_reason: "given by mistake",
        p_idempotency_key: "ticket-4714",
      },
      before: [given("order-19")],
    },
    set_token_grant_type: {
      by: "admin",
      args: {
        p_grant_type: "beta_tester",
        p_terms: { lifetime_hours: 720, priority: 20 },
        p_reason: "for the beta",
      },
    },
    set_token_burn_order: { by: "server", args: { p_burn_order: "fifo" } },
    expire_old_token_grants: { by: "server", args: { p_max_accounts: 1000 } },
    list_token_expiries: { by: "admin", args: { p_to: moments.later } },
  },
  Plans: {
    change_token_plan: {
      by: "server",
      args: {
        p_user_id: grace,
        p_plan_type: "annual",
        p_payment_method: "card",
        p_payment_id: "order-21",
        p_idempotency_key: "order-21",
      },
    },
    has_token_plan: { by: "user", args: { p_plan_type: "free", p_user_id: alice } },
    check_token_trial: { by: "user", args: { p_user_id: alice } },
    get_user_storage_quota: { by: "user", args: { p_user_id: alice } },
    renew_token_subscription: {
      by: "server",
      args: { p_user_id: bob },
      given: {
        words: "the period of the user's plan has just ended",
        sql: () => `select tokenbook.move_past('${bob}', '28 days')`,
      },
    },
    set_token_plan: {
      by: "admin",
      args: {
        p_plan_type: "team",
        p_plan: { name: "Team", tokens: 3_000_000, price_cents: 9900, billing_cycle: "monthly", rank: 45 },
        p_reason: "a plan for teams",
      },
    },
    set_token_pack: {
      by: "admin",
      args: {
        p_pack_type: "pack_100k",
        p_pack: { name: "100,000 tokens", tokens: 100_000, price_cents: 200 },
        p_reason: "a smaller pack",
      },
    },
    set_token_trial_policy: { by: "server", args: { p_policy: "reduced", p_reduced_percent: 50 } },
    check_token_synchronization: { by: "admin", args: { p_limit: 2 } },
    get_users_without_token_balance: { by: "admin", args: { p_limit: 100 } },
  },
  Payments: {
    create_token_payment: {
      by: "user",
      args: { p_user_id: alice, p_to_plan: "professional", p_idempotency_key: "order-30" },
    },
    approve_token_payment: {
      by: "admin",
      args: { p_user_id: dave, p_payment_id: payment, p_reason: "transfer of Tuesday" },
      before: [
        {
          by: "server",
          call: "create_token_payment",
          args: { p_user_id: dave, p_to_plan: "professional", p_idempotency_key: "demo-dave-payment" },
          gives: { payment_id: payment },
        },
      ],
    },
    reject_token_payment: {
      by: "admin",
      args: { p_user_id: erin, p_payment_id: payment, p_reason: "nothing has arrived" },
      before: [pendingOf(erin, "order-31")],
    },
    refund_token_payment: {
      by: "admin",
      args: {
        p_user_id: erin,
        p_payment_id: payment,
        p_reason: "half of it was paid back",
        p_refunded_cents: 450,
      },
      before: [pendingOf(erin, "order-32"), approved(erin)],
    },
    prepare_token_checkout: {
      by: "user",
      args: { p_user_id: alice, p_pack_type: "pack_500k", p_quantity: 2, p_idempotency_key: "order-33" },
      before: [priced],
    },
    get_token_customer: {
      by: "user",
      args: { p_user_id: alice, p_provider: "stripe" },
    },
    set_token_customer: {
      by: "server",
      args: { p_user_id: alice, p_provider: "stripe", p_customer_id: "cus_alice" },
    },
    record_token_payment_event: {
      by: "server",
      args: {
        p_provider: "stripe",
        p_event_id: "evt_40",
        p_event_type: "payment_intent.succeeded",
        p_provider_payment_id: "pi_40",
        p_facts: {
          kind: "paid",
          occurred_at: moments.now,
          user_id: erin,
          pack_type: "pack_500k",
          quantity: 1,
          amount_cents: 900,
          currency: "usd",
        },
      },
    },
    record_token_subscription_event: {
      by: "server",
      args: {
        p_provider: "stripe",
        p_event_id: "evt_41",
        p_event_type: "customer.subscription.updated",
        p_provider_subscription_id: "sub_41",
        p_facts: {
          kind: "subscription",
          occurred_at: moments.now,
          status: "active",
          user_id: erin,
          plan_type: "professional",
        },
      },
    },
    list_parked_token_payments: { by: "admin", args: { p_limit: 100 }, before: [parked("50")] },
    assign_parked_token_payment: {
      by: "admin",
      args: {
        p_provider: "stripe",
        p_provider_payment_id: "pi_51",
        p_user_id: frank,
        p_pack_type: "pack_500k",
      },
      before: [parked("51")],
    },
    dismiss_parked_token_payment: {
      by: "admin",
      args: {
        p_provider: "stripe",
        p_provider_payment_id: "pi_52",
        p_reason: "a payment of another shop",
      },
      before: [parked("52")],
    },
    get_token_revenue: { by: "admin", args: { p_bucket: "all" } },
    token_offer_now: {
      by: "server",
      of: "token_payments",
      where: { user_id: dave, to_plan: "professional" },
    },
    token_payment_disagrees: {
      by: "server",
      of: "token_payments",
      where: { user_id: dave, to_plan: "professional" },
    },
    token_payment_email: {
      by: "server",
      of: "token_payments",
      where: { user_id: dave, to_plan: "professional" },
    },
  },
  "Codes and referrals": {
    create_token_code: {
      by: "admin",
      args: {
        p_tokens: 5000,
        p_name: "spring letter",
        p_max_redemptions: 500,
        p_lifetime_days: 90,
        p_code: "SPRING-2026",
      },
    },
    redeem_token_code: {
      by: "user",
      args: { p_code: "welcome 2026", p_user_id: alice },
      before: [made("WELCOME-2026")],
    },
    list_token_codes: {
      by: "admin",
      args: { p_limit: 1 },
      before: [made("SUMMER-2026")],
      drawn: ["next_before"],
    },
    end_token_code: {
      by: "admin",
      args: { p_code_id: code, p_reason: "it was posted in a forum" },
      before: [made("AUTUMN-2026")],
    },
    get_token_referral_code: { by: "user", args: { p_user_id: alice } },
    claim_token_referral: {
      by: "admin",
      args: { p_referral_code: referral, p_user_id: heidi },
      before: [
        {
          by: "server",
          call: "set_token_referral_policy",
          args: { p_referrer_tokens: 10_000, p_referred_tokens: 5000 },
        },
        {
          by: "server",
          call: "get_token_referral_code",
          args: { p_user_id: bob },
          gives: { code: referral },
        },
      ],
    },
    set_token_referral_policy: {
      by: "server",
      args: { p_referrer_tokens: 10_000, p_referred_tokens: 5000, p_lifetime_days: 365 },
    },
  },
  "Caps and teams": {
    set_token_spend_cap: {
      by: "admin",
      args: { p_window: "day", p_tokens: 50_000, p_user_id: erin, p_reason: "asked for it" },
    },
    get_token_spend_caps: {
      by: "admin",
      args: { p_user_id: frank },
      before: [
        {
          by: "server",
          call: "set_token_spend_cap",
          args: { p_window: "day", p_tokens: 900_000, p_user_id: frank },
        },
      ],
    },
    add_token_team_member: {
      by: "admin",
      args: { p_user_id: carol, p_member_id: grace, p_cap_day: 20_000 },
    },
    list_token_team_members: {
      by: "admin",
      args: { p_user_id: carol },
      before: [
        { by: "server", call: "add_token_team_member", args: { p_user_id: carol, p_member_id: grace } },
      ],
    },
    remove_token_team_member: {
      by: "admin",
      args: { p_user_id: carol, p_member_id: grace },
      before: [
        { by: "server", call: "add_token_team_member", args: { p_user_id: carol, p_member_id: grace } },
      ],
    },
  },
  "Alerts and top-ups": {
    set_token_alert_rule: {
      by: "admin",
      args: {
        p_rule: "low",
        p_kind: "dropped",
        p_threshold_percent: 20,
        p_for_everyone: true,
      },
    },
    remove_token_alert_rule: {
      by: "admin",
      args: { p_rule: "empty", p_user_id: erin },
      before: [
        {
          by: "server",
          call: "set_token_alert_rule",
          args: { p_rule: "empty", p_kind: "depleted", p_user_id: erin },
        },
      ],
    },
    arm_token_alerts: { by: "server", args: { p_max_accounts: 1000 } },
    set_token_top_up: {
      by: "user",
      args: { p_user_id: alice, p_below_tokens: 5000, p_pack_type: "pack_500k" },
    },
    claim_token_top_ups: { by: "server", args: { p_limit: 1 }, before: [priced, topUp] },
    settle_token_top_up: {
      by: "server",
      args: {
        p_user_id: heidi,
        p_request_id: request,
        p_outcome: "failed",
        p_reason: "the card was declined",
      },
      before: [{ ...topUp, gives: { pending_request_id: request } }],
    },
  },
  Webhooks: {
    set_token_webhook_endpoint: {
      by: "admin",
      args: {
        p_name: "ops",
        p_url: "https://ops.example.com/hooks/tokens",
        p_kinds: ["token_alert.depleted"],
      },
    },
    list_token_webhook_endpoints: { by: "admin", args: {}, before: [endpoint] },
    remove_token_webhook_endpoint: {
      by: "admin",
      args: { p_name: "old" },
      before: [{ ...endpoint, args: { p_name: "old", p_url: "https://old.example.com/hooks" } }],
    },
    list_token_webhook_deliveries: {
      by: "admin",
      args: { p_endpoint: "app", p_limit: 1 },
      before: [endpoint, event("order-60")],
      drawn: ["id", "next_before"],
    },
    claim_token_webhooks: {
      by: "server",
      args: { p_endpoint: "app", p_limit: 1 },
      before: [endpoint, event("order-61")],
      drawn: ["delivery_id"],
    },
    settle_token_webhook: {
      by: "server",
      args: { p_user_id: carol, p_delivery_id: delivery, p_claim_id: claim },
      before: [
        endpoint,
        event("order-62"),
        {
          by: "server",
          call: "claim_token_webhooks",
          args: { p_endpoint: "app", p_limit: 1 },
          gives: { "0.delivery_id": delivery, "0.claim_id": claim },
        },
      ],
    },
    repeat_token_webhook_delivery: {
      by: "admin",
      args: { p_delivery_id: delivery },
      before: [
        endpoint,
        event("order-63"),
        {
          by: "server",
          call: "list_token_webhook_deliveries",
          args: { p_endpoint: "app", p_limit: 1 },
          gives: { "deliveries.0.id": delivery },
        },
      ],
      drawn: ["delivery_id"],
    },
    retry_token_webhooks: { by: "admin", args: { p_endpoint: "app" }, before: [endpoint] },
  },
  "Prices, rates and limits": {
    set_token_model_price: {
      by: "admin",
      args: {
        p_model: "gpt-5-nano",
        p_price: { input_cents_per_million: 5, output_cents_per_million: 40 },
        p_reason: "the price list of the provider",
      },
    },
    set_token_model_rate: {
      by: "admin",
      args: {
        p_model_pattern: "gpt-5*",
        p_rate: { tokens_per_input: 1, tokens_per_output: 4 },
        p_reason: "output costs more",
      },
    },
    set_token_action_cost: {
      by: "admin",
      args: {
        p_action_type: "image_generation",
        p_cost: { min_tokens: 500, max_tokens: 500 },
        p_reason: "a fixed price",
      },
    },
    set_token_unknown_model_policy: { by: "server", args: { p_policy: "record" } },
    set_token_limit: { by: "server", args: { p_name: "open_holds", p_value: 50 } },
  },
  "Users and reports": {
    list_token_users: { by: "admin", args: { p_search: "bob@", p_limit: 10 } },
    get_token_user: { by: "admin", args: { p_user_id: bob } },
    set_token_account_state: {
      by: "admin",
      args: { p_user_id: heidi, p_state: "frozen", p_reason: "a stolen card" },
    },
    set_token_overdraft: {
      by: "admin",
      args: { p_user_id: frank, p_tokens: 5000, p_reason: "pays by invoice" },
    },
    forget_token_user: { by: "admin", args: { p_user_id: heidi } },
    list_token_changes: {
      by: "admin",
      args: { p_user_id: frank, p_limit: 1 },
      before: [
        {
          by: "server",
          call: "set_token_overdraft",
          args: { p_user_id: frank, p_tokens: 6000, p_reason: "a larger invoice" },
        },
      ],
      drawn: ["id", "next_before"],
    },
    get_token_usage_by: { by: "admin", args: { p_bucket: "all", p_by: "model", p_user_id: ivy } },
    get_recent_token_usage: { by: "admin", args: { p_hours: 1, p_limit: 2 } },
    get_users_with_high_token_usage: { by: "admin", args: { p_limit: 2 } },
    get_users_with_low_token_balance: { by: "admin", args: { p_below: 5000, p_limit: 2 } },
    set_token_subject: {
      by: "server",
      args: { p_user_id: alice, p_issuer: "https://clerk.example.com", p_subject: "user_2abc" },
    },
  },
  "Checking the books": {
    verify_token_ledger: { by: "admin", args: { p_user_id: costMismatch }, given: brokenBooks },
    reconcile_user_token_balance: { by: "admin", args: { p_user_id: published }, given: brokenBooks },
    find_token_discrepancies: { by: "admin", args: { p_threshold: 30_000 }, given: brokenBooks },
    replay_token_balances: { by: "admin", args: { p_user_id: published }, given: brokenBooks },
    restate_token_balances: {
      by: "admin",
      args: { p_user_id: published, p_reason: "exact history", p_idempotency_key: "restate-1" },
      given: brokenBooks,
    },
    reverse_token_restatement: {
      by: "admin",
      args: { p_user_id: published, p_transaction_id: 2, p_reason: "agreed with the user" },
      given: brokenBooks,
      before: [
        {
          by: "admin",
          call: "restate_token_balances",
          args: { p_user_id: published, p_reason: "exact history", p_idempotency_key: "restate-1" },
        },
      ],
    },
    checkpoint_token_ledger: { by: "admin", args: { p_user_id: alice } },
    verify_token_checkpoint: {
      by: "admin",
      args: { p_lines: checkpoint },
      before: [
        {
          by: "admin",
          call: "checkpoint_token_ledger",
          args: { p_user_id: alice },
          gives: { "lines.0": checkpoint[0]!, "lines.1": checkpoint[1]! },
        },
      ],
    },
    check_token_installation: { by: "server", args: {} },
    acknowledge_token_finding: {
      by: "admin",
      args: { p_user_id: erin, p_transaction_id: 3, p_reason: "NTP set the clock back" },
      given: {
        words: "the server's clock had stepped back by an hour when entry 3 was booked",
        sql: () => `
          alter table public.token_transactions disable trigger user;
          update public.token_transactions set created_at = created_at - interval '1 hour'
           where user_id = '${erin}' and id = 3;
          alter table public.token_transactions enable trigger user;
          select tokenbook.move_past('${erin}', '0')`,
      },
    },
  },
};
