/** What tests of the books share: making grants, and asking whether the invariants hold. */
import { expect } from "vitest";
import type { Database } from "./database.ts";
import { asService, rpc } from "./roles.ts";

/** How a test wants its grant; everything has the default that `grant_tokens` has, but the type: purchase. */
export interface GrantOptions {
  type?: "annual" | "28day" | "trial" | "purchase" | "admin" | "plan" | "bonus";
  /** ISO timestamp in the past. */
  granted_at?: string;
  /** ISO timestamp, or `infinity`. */
  expires_at?: string;
  /** A Postgres interval from now, for grants that run out during the test. */
  expires_in?: string;
  priority?: number;
  /** What it cost, in cents of `usd`. */
  cost?: number;
  key?: string;
}

/** Grants tokens as the server and returns the grant's id. */
export async function grant(
  db: Database,
  userId: string,
  tokens: number,
  options: GrantOptions = {},
): Promise<string> {
  const expiresAt = options.expires_in
    ? (await db.admin.query("select clock_timestamp() + $1::interval as at", [options.expires_in])).rows[0].at
    : options.expires_at;
  const receipt = await asService(db, (client) =>
    rpc(client, "grant_tokens", {
      p_user_id: userId,
      p_tokens: tokens,
      p_grant_type: options.type ?? "purchase",
      ...(options.granted_at && { p_granted_at: options.granted_at }),
      ...(expiresAt && { p_expires_at: expiresAt }),
      ...(options.priority !== undefined && { p_priority: options.priority }),
      ...(options.cost !== undefined && { p_cost_basis_cents: options.cost, p_currency: "usd" }),
      ...(options.key && { p_idempotency_key: options.key }),
    }),
  );
  return receipt.grant_id as string;
}

/** As if a user's grants had always been on the terms that a test has just given them: the ledger says so too. */
export async function recordAsGiven(db: Database, userId: string): Promise<void> {
  await db.admin.query("alter table public.token_transactions disable trigger user");
  await db.admin.query(
    `update public.token_transactions t
        set terms = t.terms || jsonb_build_object('grants', (
              select jsonb_agg(tokenbook.grant_terms(b))
                from jsonb_array_elements(t.terms -> 'grants') g
                join public.token_balances b on b.user_id = t.user_id and b.id::text = g ->> 'id'))
      where t.user_id = $1 and t.terms ? 'grants'`,
    [userId],
  );
  await db.admin.query("alter table public.token_transactions enable trigger user");
}

/**
 * Every breach of the invariants I1 to I5, I7 and I9 in the whole database, in words. Written against
 * the documented rules and from the tables alone, so that a fault in the functions cannot hide itself.
 */
export async function breaches(db: Database): Promise<string[]> {
  const { rows } = await db.admin.query<{ breach: string }>(`
    select 'I1 grant ' || id || ' has ' || tokens_remaining || ' of ' || tokens_granted as breach
      from public.token_balances where tokens_remaining < 0 or tokens_remaining > tokens_granted
    union all
    select 'I1 account ' || user_id || ' is below zero'
      from public.token_accounts where tokens_remaining < 0
    union all
    select 'I2 account ' || coalesce(a.user_id, g.user_id) || ' has ' || coalesce(a.tokens_remaining, 0) || ', its grants ' || coalesce(g.total, 0)
      from public.token_accounts a
      full join (select user_id, sum(tokens_remaining) total from public.token_balances group by user_id) g
        on g.user_id = a.user_id
     where coalesce(a.tokens_remaining, 0) <> coalesce(g.total, 0)
    union all
    select 'I3 account ' || coalesce(a.user_id, t.user_id) || ' has ' || coalesce(a.tokens_remaining + a.tokens_reserved, 0) || ', its ledger ' || coalesce(t.total, 0)
      from public.token_accounts a
      full join (select user_id, sum(tokens) total from public.token_transactions group by user_id) t
        on t.user_id = a.user_id
     where coalesce(a.tokens_remaining + a.tokens_reserved, 0) <> coalesce(t.total, 0)
    union all
    select 'I3 balance_after of ' || user_id || ' #' || id
      from (select *, sum(tokens - reserved_change) over (partition by user_id order by id) running from public.token_transactions) t
     where balance_after <> running
    union all
    select 'debt of account ' || a.user_id || ' is ' || a.tokens_owed || ', its ledger says ' || coalesce(t.debt, 0)
      from public.token_accounts a
      left join (select user_id, sum(debt_change) debt from public.token_transactions group by user_id) t
        on t.user_id = a.user_id
     where a.tokens_owed <> coalesce(t.debt, 0)
    union all
    select 'I9 balance of ' || a.user_id || ' is ' || a.tokens_remaining || ', above its plan limit ' || s.tokens_limit
      from public.token_accounts a
      join public.token_subscriptions s on s.user_id = a.user_id
     where a.tokens_remaining > s.tokens_limit
    union all
    select 'I3 numbering of ' || user_id
      from public.token_transactions group by user_id having max(id) <> count(*)
    union all
    select 'I4 allocations of ' || t.user_id || ' #' || t.id
      from public.token_transactions t
     where greatest(abs(t.tokens), abs(t.reserved_change)) <> (select coalesce(sum(x), 0) from unnest(t.grant_tokens) x)
    union all
    select 'I4 grant ' || b.id || ' has ' || b.tokens_remaining || ', its history ' || coalesce(h.total, 0)
      from public.token_balances b
      left join (
        select t.user_id, a.grant_id, sum(sign(t.tokens - t.reserved_change) * a.tokens) total
          from public.token_transactions t
         cross join lateral unnest(t.grant_ids, t.grant_tokens) a (grant_id, tokens)
         group by t.user_id, a.grant_id) h on h.user_id = b.user_id and h.grant_id = b.id
     where b.tokens_remaining <> coalesce(h.total, 0)
    union all
    select 'I3 account ' || coalesce(a.user_id, h.user_id) || ' has ' || coalesce(a.tokens_reserved, 0) || ' reserved, its open holds ' || coalesce(h.total, 0)
      from public.token_accounts a
      full join (select user_id, sum(tokens) total from public.token_holds where status = 'open' group by user_id) h
        on h.user_id = a.user_id
     where coalesce(a.tokens_reserved, 0) <> coalesce(h.total, 0)
    union all
    select 'I5 key ' || idempotency_key || ' of ' || user_id || ' has ' || count(*) || ' effects'
      from public.token_transactions where idempotency_key is not null
     group by user_id, coalesce(member_id, user_id), idempotency_key, (actor_role = 'user') having count(*) > 1
    union all
    select 'I7 next_due_at of ' || a.user_id || ' is late'
      from public.token_accounts a
      join (select user_id, min(expires_at) due from public.token_balances where is_open group by user_id) g on g.user_id = a.user_id
     where g.due < coalesce(a.next_due_at, 'infinity') and a.state in ('active', 'frozen')`);
  return rows.map((row) => row.breach);
}

/** Fails, listing them, when any invariant is broken anywhere in the database. */
export async function expectCleanBooks(db: Database): Promise<void> {
  expect(await breaches(db)).toEqual([]);
}
