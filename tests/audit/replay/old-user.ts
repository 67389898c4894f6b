/** Users of an old project, as the migration that opened the books left them. */
import type { Database } from "../../support/database.ts";
import { createUser } from "../../support/roles.ts";

export interface OldGrant {
  tokens: number;
  /** A Postgres interval before now. */
  granted: string;
  /** A Postgres interval from now (negative: it has run out); never when left out. */
  expires?: string;
  /** What the opening balance says; everything when left out, as the simple hotfix has it. */
  stored?: number;
  /** Made by the old app, so no old transaction knows it. */
  byTheApp?: boolean;
}

export interface OldUser {
  user: string;
  /** In the order of the grants. */
  grantIds: string[];
}

/** Writes an old user whose books opened that long ago (an hour, when left out). */
export async function oldUser(
  db: Database,
  {
    grants,
    deductions = [],
    usage = [],
    opened = "1 hour",
  }: {
    grants: OldGrant[];
    /** Old transactions: tokens, and how long ago. */
    deductions?: [tokens: number, ago: string][];
    /** Rows of the audit trail. */
    usage?: [tokens: number, ago: string][];
    opened?: string;
  },
): Promise<OldUser> {
  const user = await createUser(db);
  const grantIds: string[] = [];
  for (const { tokens, granted, expires = null, stored = tokens, byTheApp = false } of grants) {
    const { rows } = await db.admin.query(
      `insert into public.token_balances
         (user_id, grant_type, tokens_granted, tokens_remaining, is_open, granted_at, expires_at, legacy_transaction_id, created_at)
       values ($1, 'purchase', $2::bigint, $3::bigint, $3::bigint > 0, now() - $4::interval, now() + $5::interval,
               case when not $6 then gen_random_uuid()::text end, now() - $4::interval)
       returning id`,
      [user, tokens, stored, granted, expires, byTheApp],
    );
    grantIds.push(rows[0].id);
  }
  for (const [n, [tokens, ago]] of deductions.entries())
    await db.admin.query(
      `insert into public.token_legacy_transactions (user_id, id, legacy_id, action_type, tokens, created_at)
       values ($1, $2::bigint, $2::bigint::text, 'chat_conversation', $3, now() - $4::interval)`,
      [user, -n, -tokens, ago],
    );
  for (const [tokens, ago] of usage)
    await db.admin.query(
      "insert into public.token_usage (user_id, action_type, tokens_used, created_at) values ($1, 'chat_conversation', $2, now() - $3::interval)",
      [user, tokens, ago],
    );
  await db.admin.query(
    `with opened as (
       select $1::uuid as user_id, coalesce(sum(b.tokens_remaining), 0)::bigint as tokens,
              coalesce(array_agg(b.id) filter (where b.is_open), '{}') as grant_ids,
              coalesce(array_agg(b.tokens_remaining) filter (where b.is_open), '{}') as grant_tokens,
              min(b.expires_at) filter (where b.is_open) as due
         from public.token_balances b where b.user_id = $1
     ), account as (
       insert into public.token_accounts (user_id, tokens_remaining, last_transaction_id, next_due_at)
       select o.user_id, o.tokens, 1, o.due from opened o
     )
     insert into public.token_transactions
       (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason, actor_role, metadata, created_at, terms)
     select o.user_id, 1, 'opening_balance', 'opening_balance', o.tokens, o.tokens, o.grant_ids, o.grant_tokens,
            'the books open', 'system', '{"tokens_used": 0, "total_cost": 0}', now() - $2::interval,
            (select jsonb_build_object('grants', coalesce(jsonb_agg(tokenbook.grant_terms(b)), '[]'))
               from public.token_balances b where b.user_id = o.user_id)
       from opened o`,
    [user, opened],
  );
  return { user, grantIds };
}
