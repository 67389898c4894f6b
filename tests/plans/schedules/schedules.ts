/** What tests of schedules share. */
import type { Database } from "../../support/database.ts";
import { recordPaymentEvent } from "../../support/provider-events.ts";
import { asService, createUser, rpc } from "../../support/roles.ts";
import type { Schedule } from "./model.ts";

/** A plan of the catalogue, by the fields that a test cares about. */
export interface PlanFields {
  tokens: number;
  billing_cycle?: "none" | "28day" | "monthly" | "annual";
  issue_every?: Schedule["every"] | null;
  issue_on?: Schedule["on"];
  refill_to?: number | null;
  grant_lifetime_days?: number | null;
  price_cents?: number;
  rank?: number;
}

/** Makes a plan, or changes one, as the server. */
export async function setPlan(db: Database, name: string, fields: PlanFields): Promise<void> {
  await asService(db, (client) =>
    rpc(client, "set_token_plan", { p_plan_type: name, p_plan: { name, ...fields }, p_reason: "a test" }),
  );
}

/** The fields of a plan with that schedule. */
export const fieldsOf = (schedule: Schedule): PlanFields => ({
  tokens: schedule.tokens,
  issue_every: schedule.every,
  issue_on: schedule.on,
  refill_to: schedule.refill,
  grant_lifetime_days: schedule.lifetime,
});

/** Asks the server's API for one thing about a user. */
// a test reads what it expects out of the answer
// oxlint-disable-next-line typescript/no-explicit-any
export function about(db: Database, user: string): (name: string, args?: object) => Promise<any> {
  return (name, args = {}) => asService(db, (client) => rpc(client, name, { p_user_id: user, ...args }));
}

/** A new user on that plan, from now on. */
export async function userOn(db: Database, plan: string): Promise<string> {
  const user = await createUser(db);
  await about(db, user)("change_token_plan", { p_plan_type: plan });
  return user;
}

/** What the schedule has given a user, as the ledger has it: slot, count, tokens, until when. */
export async function given(
  db: Database,
  user: string,
): Promise<{ slot: string; count: number; tokens: number; until: string | null }[]> {
  const { rows } = await db.admin.query(
    `select to_char(b.granted_at at time zone 'utc', 'YYYY-MM-DD HH24:MI') as slot, (t.terms -> 'slots' ->> 'count')::int as count,
            t.tokens::int as tokens, to_char(b.expires_at at time zone 'utc', 'YYYY-MM-DD HH24:MI') as until
       from public.token_transactions t
       join public.token_balances b on b.user_id = t.user_id and b.id = t.grant_ids[1]
      where t.user_id = $1 and t.action_type = 'scheduled_grant'
      order by t.id`,
    [user],
  );
  return rows;
}

/** What the verifier has against a user's books. */
export async function findings(db: Database, user: string): Promise<string[]> {
  const { rows } = await db.admin.query(
    "select invariant || ': ' || expected || ' / ' || found as finding from public.verify_token_ledger($1)",
    [user],
  );
  return rows.map(({ finding }) => finding);
}

/** The same user as each of the ways to look says it, without booking anything: each in a transaction of its own. */
export async function looks(db: Database, user: string): Promise<Record<string, unknown>> {
  const client = await db.admin.connect();
  const seen: Record<string, unknown> = {};
  const queries: Record<string, string> = {
    balance: "select public.get_user_token_balance($1) as seen",
    estimate:
      "select public.estimate_tokens($1, 'chat_conversation', p_tokens_used => 1000000000) -> 'would_be_deducted_from' as seen",
    "as of now":
      "select public.get_token_balance_as_of($1, tokenbook.test_now()) - array['at', 'user_id'] as seen",
  };
  try {
    for (const [name, query] of Object.entries(queries)) {
      await client.query("begin read only");
      seen[name] = (await client.query(query, [user])).rows[0].seen;
      await client.query("rollback");
    }
    return seen;
  } finally {
    await client.query("rollback");
    client.release();
  }
}

/** A fact of a payment at Stripe: of before all that these tests live through, unless it says when. */
export const tellOfPayment = (db: Database, payment: string, facts: object): Promise<unknown> =>
  recordPaymentEvent(db, payment, { occurred_at: "2026-12-01T00:00:00Z", currency: "usd", ...facts });

/** Asks for a plan by hand and has it approved. Returns the payment, and when its period began. */
export async function buy(db: Database, user: string, plan: string): Promise<{ id: string; begins: number }> {
  const call = about(db, user);
  const { payment_id: id } = await call("create_token_payment", { p_to_plan: plan });
  await call("approve_token_payment", { p_payment_id: id });
  const { rows } = await db.admin.query(
    `select extract(epoch from b.period_start) * 1000 as begins from public.token_balances b where b.user_id = $1 and b.payment_id = $2`,
    [user, id],
  );
  return { id, begins: Number(rows[0].begins) };
}
