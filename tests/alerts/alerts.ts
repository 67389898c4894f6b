/** What tests of alerts share. */
import { expect } from "vitest";
import type { Database } from "../support/database.ts";
import { asService, rpc } from "../support/roles.ts";

/** A rule as `set_token_alert_rule` takes it, without the prefixes. */
export interface Rule {
  rule: string;
  kind: "dropped" | "depleted" | "expiring_soon";
  threshold_tokens?: number;
  threshold_percent?: number;
  hours?: number;
  plan_type?: string;
  user_id?: string;
  notify_recovered?: boolean;
  is_enabled?: boolean;
}

/** Sets a rule as the server; for everyone, where it names no user and no plan. */
export async function setRule(db: Database, rule: Rule): Promise<void> {
  const args = Object.fromEntries(Object.entries(rule).map(([name, value]) => [`p_${name}`, value]));
  const isCommon = rule.user_id === undefined && rule.plan_type === undefined;
  await asService(db, (client) =>
    rpc(client, "set_token_alert_rule", { ...args, ...(isCommon && { p_for_everyone: true }) }),
  );
}

/** Calls one function as the server. */
// A test reads what it expects out of the answer.
// oxlint-disable-next-line typescript/no-explicit-any
export async function call(db: Database, name: string, args: Record<string, unknown> = {}): Promise<any> {
  return await asService(db, (client) => rpc(client, name, args));
}

/** Spends that many tokens as the server. */
export async function deduct(db: Database, userId: string, tokens: number): Promise<void> {
  const receipt = await call(db, "deduct_tokens_with_fifo", {
    p_user_id: userId,
    p_tokens_to_deduct: tokens,
  });
  expect(receipt.success).toBe(true);
}

/** A user's alerts in order, as `dropped low 80` (kind, rule, balance). */
export async function told(db: Database, userId: string): Promise<string[]> {
  const { rows } = await db.admin.query(
    `select kind || ' ' || rule || ' ' || (payload ->> 'tokens_remaining') as alert
       from public.token_alerts where user_id = $1 order by id`,
    [userId],
  );
  return rows.map((row) => row.alert as string);
}

/**
 * Every breach of what holds of alerts at every commit, from the tables alone: numbers without gaps and
 * known to the account, thresholds on their sides of the balance, and an outstanding alert behind each state
 * that says so.
 */
export async function alertBreaches(db: Database): Promise<string[]> {
  const { rows } = await db.admin.query<{ breach: string }>(`
    select 'numbers of ' || user_id as breach from public.token_alerts
     group by user_id having max(id) <> count(*)
    union all
    select 'newest of ' || a.user_id from public.token_accounts a
     where a.last_alert_id <> (select coalesce(max(id), 0) from public.token_alerts t where t.user_id = a.user_id)
    union all
    select 'thresholds of ' || user_id from public.token_accounts
     where tokens_remaining < alert_below or tokens_remaining >= alert_above
    union all
    select 'state of ' || s.user_id || ' ' || s.rule
      from tokenbook.token_alert_states s
      join public.token_accounts a on a.user_id = s.user_id
     where a.alerts_version = (select alerts_version from tokenbook.project_settings)
       and s.is_below <> (a.tokens_remaining < s.threshold)
    union all
    select 'epochs of ' || s.user_id || ' ' || s.rule
      from tokenbook.token_alert_states s
     where s.rule <> 'auto_top_up'
       and s.epoch <> (select count(*) from public.token_alerts t
                        where t.user_id = s.user_id and t.rule = s.rule and t.kind in ('dropped', 'depleted'))
    union all
    select 'due of ' || user_id from public.token_accounts
     where next_alert_at < coalesce(next_due_at, 'infinity')`);
  return rows.map((row) => row.breach);
}
