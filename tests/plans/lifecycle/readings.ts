/** What tests of a subscription's life share: every way of reading which plan is in force, and moments. */
import type { Database } from "../../support/database.ts";
import { recordPaymentEvent, recordSubscriptionEvent } from "../../support/provider-events.ts";
import { asService, asUser, createUser, rpc } from "../../support/roles.ts";
import { letTimePass } from "../../support/time.ts";

/** Calls one function as the server. */
// A test reads what it expects out of the answer.
// oxlint-disable-next-line typescript/no-explicit-any
export const server = (db: Database, name: string, args: Record<string, unknown> = {}): Promise<any> =>
  asService(db, (client) => rpc(client, name, args));

/**
 * Plans that come with storage and features, two of them with an alert rule and a cap of their own, and with three
 * days of grace, as what costs something has where it says nothing else.
 */
export async function addPlans(db: Database): Promise<void> {
  await db.admin.query(
    `insert into public.token_plans
       (plan_type, name, tokens, articles_limit, storage_gb, price_cents, billing_cycle, rank, features, grace_days)
     values ('silver', 'Silver', 1000, 10, 10, 500, 'annual', 12, '{"export": false}', null),
            ('gold', 'Gold', 2000, 50, 100, 1000, 'monthly', 14, '{"export": true}', null),
            ('strict', 'Strict', 500, 5, 5, 300, 'monthly', 11, '{}', 0)`,
  );
  for (const [plan, tokens] of [
    ["silver", 100],
    ["gold", 200],
  ] as const) {
    await server(db, "set_token_alert_rule", {
      p_rule: "low",
      p_kind: "dropped",
      p_threshold_tokens: tokens,
      p_plan_type: plan,
    });
    await server(db, "set_token_spend_cap", {
      p_plan_type: plan,
      p_window: "month",
      p_tokens: tokens * 100,
      p_reason: "a cap of the plan",
    });
  }
}

/** What everybody is told at one moment, by every way of asking. */
export interface Reading {
  /** `token_subscriptions`, as the user. */
  shown: string;
  articles: number | null;
  features: unknown;
  /** The older name. */
  older: string;
  /** The same as the server. */
  toServer: string;
  quota: number;
  /** What the user sees of their quotas, added up; and under the older name. */
  quotas: number;
  olderQuotas: number;
  /** The threshold of the alert rule that holds, and the cap that the plan brings. */
  alertBelow: number | null;
  cap: number | null;
  /** Whether the operators' reports list them as subscribed. */
  listed: boolean;
  /** `get_user_token_balance`: which records what is due, so it is asked last. */
  balancePlan: string | null;
  tokens: number;
  limit: number;
}

const line = (row: { plan_type: string | null; is_active: boolean; status: string } | undefined) =>
  row === undefined
    ? "no row"
    : `${row.plan_type ?? "none"} ${row.is_active ? "active" : "inactive"} ${row.status}`;

/** Asks in every way. */
export async function read(db: Database, user: string): Promise<Reading> {
  const { shown, older, quota, quotas, olderQuotas } = await asUser(db, user, async (client) => ({
    shown: (await client.query("select * from public.token_subscriptions")).rows[0],
    older: (await client.query("select * from public.user_subscriptions")).rows[0],
    quota: (await rpc(client, "get_user_storage_quota")).total_quota_gb,
    quotas: (
      await client.query("select coalesce(sum(quota_gb), 0)::int as gb from public.token_storage_quotas")
    ).rows[0].gb,
    olderQuotas: (await client.query("select coalesce(sum(quota_gb), 0)::int as gb from public.user_storage"))
      .rows[0].gb,
  }));
  const toServer = await asService(db, async (client) => {
    const { rows } = await client.query("select * from public.token_subscriptions where user_id = $1", [
      user,
    ]);
    return rows[0];
  });
  const { rows: rules } = await db.admin.query(
    "select threshold::int from tokenbook.alert_rules_of($1) where rule = 'low'",
    [user],
  );
  const caps = await server(db, "get_token_spend_caps", { p_user_id: user });
  const listed = await asService(db, (client) =>
    client.query("select from public.check_token_synchronization() where user_id = $1", [user]),
  );
  const balance = await asUser(db, user, (client) => rpc(client, "get_user_token_balance"));
  return {
    shown: line(shown),
    articles: shown?.articles_limit ?? null,
    features: shown?.features ?? null,
    older: line(older),
    toServer: line(toServer),
    quota,
    quotas,
    olderQuotas,
    alertBelow: rules[0]?.threshold ?? null,
    cap: caps.caps.find((cap: { scope: string }) => cap.scope === "plan")?.limit ?? null,
    listed: listed.rows.length > 0,
    balancePlan: balance.plan_type,
    tokens: balance.total_active,
    limit: balance.tokens_limit,
  };
}

/** How often what is in force was changed in the ledger without tokens. */
export async function recorded(db: Database, user: string): Promise<string[]> {
  const { rows } = await db.admin.query(
    "select reason from public.token_transactions where user_id = $1 and terms ? 'standing' order by id",
    [user],
  );
  return rows.map(({ reason }) => reason as string);
}

/** Touches every account that is due, as the sweeper does. */
export async function touch(db: Database): Promise<void> {
  await server(db, "expire_old_token_grants");
}

/** Lets time pass until the present period ended that many seconds ago; or ends in so many, when negative. */
export async function letPeriodEnd(db: Database, user: string, secondsAgo: number): Promise<void> {
  const { rows } = await db.admin.query(
    "select extract(epoch from expires_at - clock_timestamp())::float8 as left from tokenbook.subscriptions where user_id = $1",
    [user],
  );
  await letTimePass(db, user, (rows[0].left + secondsAgo) / 86_400);
}

let nth = 0;
/** A payment, as its provider's event tells it. */
export function pay(
  db: Database,
  user: string,
  plan: string,
  {
    id = `pi_${++nth}`,
    provider,
    ...facts
  }: Record<string, unknown> & { id?: string; provider?: string } = {},
) {
  return recordPaymentEvent(db, id, { kind: "paid", user_id: user, plan_type: plan, ...facts }, { provider });
}

/** Another fact of a payment, and a fact of a subscription. */
export { recordPaymentEvent as tell, recordSubscriptionEvent as say };

/** What nobody has to doubt: what the verifier says. */
export async function breached(db: Database): Promise<unknown[]> {
  const { rows } = await db.admin.query(
    "select invariant, user_id, expected, found from public.verify_token_ledger()",
  );
  return rows;
}

export { createUser };
