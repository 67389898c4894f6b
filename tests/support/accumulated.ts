/** Users of whom very much has accumulated: more than calls could make in a test's time, and as they would have. */
import type { Database } from "./database.ts";
import { createUser } from "./roles.ts";
import { letTimePass } from "./time.ts";

/** When it was made, and when what runs out has run out. */
const made = "now() - interval '3 hours'";
const over = "now() - interval '1 hour'";

/** What the entry that gives it keeps of a grant `g`. */
const terms =
  "jsonb_build_object('grants', jsonb_build_array(tokenbook.grant_terms(row(g.*)::public.token_balances)))";

/** A user with that many grants of one token: open for ever, or due. */
export async function withGrants(db: Database, count: number, { due }: { due: boolean }): Promise<string> {
  const user = await createUser(db);
  const expiry = due ? over : "null::timestamptz";
  await db.admin.query(
    `with grants as (
       insert into public.token_balances
         (user_id, grant_type, tokens_granted, tokens_remaining, granted_at, expires_at, created_at)
       select $1, 'purchase', 1, 1, ${made}, ${expiry}, ${made} from generate_series(1, $2::integer)
       returning *
     )
     insert into public.token_transactions
       (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason, actor_role, created_at, terms)
     select $1, row_number() over (), 'grant', 'token_pack_purchase', 1, row_number() over (), array[g.id], array[1],
            'purchase grant', 'service', ${made}, ${terms}
       from grants g`,
    [user, count],
  );
  await account(db, user, "tokens_remaining = $2::bigint, last_transaction_id = $2::bigint", count);
  return user;
}

/**
 * A user with one large grant and that many holds of one token: open for another hour, or due. Their own, or all of one
 * member of their team.
 */
export async function withHolds(
  db: Database,
  count: number,
  { due, member = null }: { due: boolean; member?: string | null },
): Promise<string> {
  const user = await createUser(db);
  const expiry = due ? over : "now() + interval '1 hour'";
  if (member !== null) {
    await db.admin.query("select public.add_token_team_member($1, $2)", [user, member]);
  }
  await db.admin.query(
    `with given as (
       insert into public.token_balances (user_id, grant_type, tokens_granted, tokens_remaining, granted_at, created_at)
       values ($1, 'purchase', $2::bigint + 1000, 1000, ${made}, ${made})
       returning *
     ), entry as (
       insert into public.token_transactions
         (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason, actor_role, created_at, terms)
       select $1, 1, 'grant', 'token_pack_purchase', $2::bigint + 1000, $2::bigint + 1000, array[g.id], array[$2::bigint + 1000],
              'purchase grant', 'service', ${made}, ${terms}
         from given g
     ), holds as (
       insert into public.token_holds
         (user_id, tokens, grant_ids, grant_tokens, expires_at, action_type, actor_role, transaction_id, member_id, created_at)
       select $1, 1, array[g.id], array[1], ${expiry}, 'chat_conversation', 'service', 1 + n, $3, ${made}
         from given g, generate_series(1, $2::bigint) n
       returning *
     )
     insert into public.token_transactions
       (user_id, id, entry_type, action_type, tokens, balance_after, reserved_change, grant_ids, grant_tokens, reason,
        actor_role, hold_id, member_id, created_at)
     select h.user_id, h.transaction_id, 'hold', h.action_type, 0, $2::bigint + 1001 - h.transaction_id, 1, h.grant_ids,
            h.grant_tokens, h.action_type, 'service', h.id, h.member_id, ${made}
       from holds h`,
    [user, count, member],
  );
  await account(
    db,
    user,
    "tokens_remaining = 1000, tokens_reserved = $2::bigint, last_transaction_id = 1 + $2::bigint",
    count,
    count,
  );
  return user;
}

async function account(db: Database, user: string, sets: string, count: number, held = 0): Promise<void> {
  await db.admin.query("insert into public.token_accounts (user_id) values ($1) on conflict do nothing", [
    user,
  ]);
  const spent = "spent_at = (select max(t.created_at) from public.token_transactions t where t.user_id = $1)";
  await db.admin.query(
    `update public.token_accounts a
        set ${sets}, ${spent}, spent_day = $3::bigint, spent_week = $3::bigint, spent_month = $3::bigint,
            next_due_at = least(
              (select min(b.expires_at) from public.token_balances b where b.user_id = a.user_id),
              (select min(h.expires_at) from public.token_holds h where h.user_id = a.user_id))
      where a.user_id = $1 and $2::bigint > 0`,
    [user, count, held],
  );
  await db.admin.query(
    `update public.token_team_members set ${spent}, spent_day = $2, spent_week = $2, spent_month = $2 where user_id = $1`,
    [user, held],
  );
}

/** A user on a plan that gives a token a day, which nobody has touched for that many days. `fields`: more of the plan's. */
export async function withMissedDays(
  db: Database,
  count: number,
  fields: string,
  of?: string,
): Promise<string> {
  const user = of ?? (await createUser(db));
  await db.admin.query(
    `select public.set_token_plan('daily', '{"name": "Daily", "tokens": 1, "issue_every": "day", "refill_to": null, "grant_lifetime_days": null}'::jsonb
       || $1::jsonb, 'a test')`,
    [fields],
  );
  await db.admin.query("select public.change_token_plan($1, 'daily')", [user]);
  await letTimePass(db, user, count);
  return user;
}

/**
 * A user with that many periods that were paid for, each by a payment of its own at Stripe: all of them over, or as many
 * of them running as may be, so that they are kept beside each other.
 */
export async function withPaidPeriods(
  db: Database,
  count: number,
  { over: areOver }: { over: boolean },
): Promise<string> {
  const user = await createUser(db);
  const began = areOver
    ? "interval '70 days' - n * interval '31 days'"
    : "interval '1 day' - n * interval '1 minute'";
  const { rows } = await db.admin.query("select (tokenbook.limits() -> 'plans_beside')::int as beside");
  const some = areOver ? count : Math.min(count, rows[0].beside + 1);
  for (let from = 1; from <= some; from += 500) {
    await db.admin.query(
      `select count(public.record_token_payment_event('stripe', 'evt.' || n, 'paid', 'pi.' || n || '.' || $1::text,
         jsonb_build_object('kind', 'paid', 'occurred_at', now(), 'user_id', $1::text, 'customer_id', 'cus.' || $1::text, 'plan_type', 'starter',
           'amount_cents', 900, 'currency', 'usd', 'subscription_id', 'sub.' || $1::text,
           'period_start', now() - ${began})))
         from generate_series($2::integer, $3::integer) n`,
      [user, from, Math.min(from + 499, some)],
    );
  }
  return user;
}
