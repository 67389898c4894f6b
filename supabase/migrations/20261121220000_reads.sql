-- Cheaper reads: the balance and the history make their answer of rows, once, and a balance is not
-- planned anew where a few users have very many grants.

drop function private.balance_at_once(uuid, timestamptz);

-- from supabase/schemas/40_books/balance_at_once.sql
/*
 * What get_user_token_balance says of an account to which nothing has to be done first, in one
 * statement: nothing is due, no plan waits for its time, the user pays for himself, has something
 * left, and grants are spent in the usual order. NULL for every other case. What it saves:
 * docs/performance.md.
 * Grants are looked up by a.user_id, not by p_user_id: the planner would estimate them for each user
 * anew, and where a few users have very many it would take that for a reason to plan every call anew.
 * Caller: private.get_user_token_balance.   Locks: nothing.   Keeps: I7.
 */
create or replace function private.balance_at_once(p_user_id uuid)
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_balance jsonb;
begin
  select jsonb_build_object(
    'user_id', a.user_id,
    'total_active', a.tokens_remaining,
    'total_expired', a.tokens_expired,
    'total_reserved', a.tokens_reserved,
    'total_owed', a.tokens_owed,
    'tokens_limit', s.tokens_limit,
    'plan_type', s.plan_type,
    'next_expiry', case when a.next_due_at is not null then (
      select min(b.expires_at) from public.token_balances b where b.user_id = a.user_id and b.is_open) end,
    'grants', array(
      select listed
        from (
          select b.id, b.grant_type, b.tokens_granted, b.tokens_remaining, b.priority, b.granted_at, b.expires_at
            from public.token_balances b
           where b.user_id = a.user_id and b.is_open
           order by b.priority, b.granted_at, b.id
           limit 101) listed),
    'has_more_grants', false)
    into v_balance
    from public.token_accounts a
    left join public.user_subscriptions s on s.user_id = a.user_id
   where a.user_id = p_user_id
     and a.payer_id is null
     and a.tokens_remaining > 0
     and (a.next_due_at is null or a.next_due_at > clock_timestamp()) -- so nothing open has run out
     and s.next_plan_type is null
     and (select o.burn_order from private.burn_orders o order by o.since desc limit 1) is distinct from 'expiring_first';
  if v_balance #> '{grants,100}' is not null then
    v_balance := v_balance || jsonb_build_object('grants', (v_balance -> 'grants') - 100, 'has_more_grants', true);
  end if;
  return v_balance;
end
$$;
comment on function private.balance_at_once(uuid) is
  'The answer of get_user_token_balance for an account to which nothing has to be done first; NULL for any other.';
revoke all on function private.balance_at_once(uuid) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_functions/get_user_token_balance.sql
/*
 * What a user can spend now, grant by grant in the order in which they will be spent (at most 100
 * are listed). What has run out is not counted, booked or not; if something is due and the account
 * is free, it is booked on the way, so that the account row that frontends watch is right again.
 * A user who never had a grant and has a plan is given its tokens first, once; a downgrade whose
 * time has come is put into effect.
 * A member of a team is told of his payer's account, which is what he can spend.
 * Caller: the user for himself (p_user_id left out), an admin, service_role.
 * Locks: the account, only when something is due and only if it need not wait.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found.   Keeps: I7.
 */
-- Security definer: it books expiries, and an admin reads other users' rows.
create or replace function private.get_user_token_balance(p_user_id uuid)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_actor record;
  v_account_id uuid;
  v_now timestamptz;
  v_is_due boolean;
  v_balance jsonb;
begin
  if current_setting('role') <> 'service_role' then -- the server may ask for anyone; of nobody, below
    perform private.authorize(p_user_id, p_self_may => true);
  end if;
  v_balance := private.balance_at_once(p_user_id);
  if v_balance is not null then
    return v_balance;
  end if;

  v_actor := private.authorize(p_user_id, p_self_may => true);
  v_now := clock_timestamp();
  v_account_id := private.paying_account(p_user_id);

  if not exists (select from public.token_balances b where b.user_id = v_account_id) then
    perform private.initialise(v_account_id); -- whom registration missed
    v_now := clock_timestamp();
  end if;
  if exists (
    select from public.user_subscriptions s
     where s.user_id = v_account_id and s.next_plan_type is not null and s.expires_at <= v_now)
  then
    perform from public.token_accounts a where a.user_id = v_account_id for no key update skip locked;
    if found then
      perform private.take_up_next_plan(v_account_id);
    end if;
  end if;
  select coalesce(a.next_due_at <= v_now, false) into v_is_due
    from public.token_accounts a where a.user_id = v_account_id;
  if v_is_due is null then
    perform private.require_user(p_user_id, v_actor.actor_role);
  elsif v_is_due then
    perform from public.token_accounts a where a.user_id = v_account_id for no key update skip locked;
    if found then
      perform private.book_expiries(array[v_account_id], v_now);
      v_is_due := false;
    end if;
  end if;

  -- one statement, or what changes between two would be counted twice or not at all
  return (
    select jsonb_build_object(
      'user_id', p_user_id,
      'total_active', coalesce(a.tokens_remaining - due.lost + due.returned - due.repaid, 0),
      'total_expired', coalesce(a.tokens_expired + due.lost + due.forfeited, 0),
      'total_reserved', coalesce(a.tokens_reserved - due.returned - due.forfeited, 0),
      'total_owed', coalesce(a.tokens_owed - due.repaid, 0),
      'tokens_limit', (select s.tokens_limit from public.user_subscriptions s where s.user_id = v_account_id),
      'plan_type', (
        select coalesce(next.plan_type, s.plan_type)
          from public.user_subscriptions s
          left join public.token_plans next
            on next.plan_type = s.next_plan_type and next.price_cents = 0 and s.expires_at <= v_now
         where s.user_id = v_account_id),
      'next_expiry', (
        select min(b.expires_at) from public.token_balances b
         where b.user_id = v_account_id and b.is_open and b.expires_at > v_now),
      'grants', coalesce(listed.grants - 100, '[]'),
      'has_more_grants', coalesce(jsonb_array_length(listed.grants) > 100, false))
      || case when v_account_id <> p_user_id then jsonb_build_object('payer_id', v_account_id) else '{}' end
      from (values (v_account_id)) as asked (user_id)
      left join public.token_accounts a on a.user_id = asked.user_id
     cross join lateral (
       select coalesce(sum(d.lost), 0)::bigint as lost, coalesce(sum(d.returned), 0)::bigint as returned,
              coalesce(sum(d.forfeited), 0)::bigint as forfeited, coalesce(sum(d.repaid), 0)::bigint as repaid
         from private.tokens_due(v_account_id, v_now) as d
        where a.next_due_at <= v_now) due
     cross join lateral (
       select jsonb_agg(
                jsonb_build_object(
                  'id', g.id,
                  'grant_type', g.grant_type,
                  'tokens_granted', g.tokens_granted,
                  'tokens_remaining', chosen.tokens,
                  'priority', g.priority,
                  'granted_at', g.granted_at,
                  'expires_at', g.expires_at)
                order by chosen.nth) as grants
         from private.choose_grants(v_account_id, null, v_now, 101, p_count_due => v_is_due) as next
        cross join lateral unnest(next.grant_ids, next.grant_tokens) with ordinality as chosen (grant_id, tokens, nth)
         join public.token_balances g on g.user_id = v_account_id and g.id = chosen.grant_id) listed);
end
$$;
comment on function private.get_user_token_balance(uuid) is 'See public.get_user_token_balance.';
revoke all on function private.get_user_token_balance(uuid) from public, anon, authenticated, service_role;
grant execute on function private.get_user_token_balance(uuid) to authenticated, service_role;

create or replace function public.get_user_token_balance(p_user_id uuid default auth.uid())
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.get_user_token_balance(p_user_id);
end
$$;
comment on function public.get_user_token_balance(uuid) is
  'What the user can spend now. For the user himself (leave p_user_id out), an admin, or the server. Returns {user_id, total_active, total_expired (lost to expiry since the books opened), total_reserved (in holds), total_owed (debt), tokens_limit (the mark the plan filled up to), plan_type, next_expiry, grants: [{id, grant_type, tokens_granted, tokens_remaining, priority, granted_at, expires_at}] in the order in which they will be spent, at most 100, has_more_grants}; for a member of a team of his payer''s account, with payer_id. Errors: not_authenticated, forbidden.';
revoke all on function public.get_user_token_balance(uuid) from public, anon, authenticated, service_role;
grant execute on function public.get_user_token_balance(uuid) to authenticated, service_role;

-- from supabase/schemas/40_functions/get_token_history.sql
/*
 * A user's transactions, newest first, a page at a time, on from the ledger into the history
 * from before the books opened (entry_type 'history', numbered downwards from 0, no balance).
 * Keyset paging by number: pages neither skip nor repeat while new transactions arrive.
 * Caller: the user for himself (p_user_id left out), an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_page, user_not_found.
 */
-- Security definer: an admin reads other users' rows.
create or replace function private.get_token_history(p_user_id uuid, p_limit integer, p_before bigint)
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  v_actor record;
  v_page record;
begin
  v_actor := private.authorize(p_user_id, p_self_may => true);
  if p_limit is null or p_limit not between 1 and 200 then
    perform private.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 200"}');
  end if;

  -- rows stay rows until the page is made of them, once; columns in the order of a jsonb's keys
  -- (by length, then by name), or each of the rows would be sorted
  select exists (select from public.token_accounts a where a.user_id = p_user_id) as is_known,
         array(
           select entry
             from (
               (select t.id, t.reason, t.tokens, t.hold_id, t.actor_id, t.metadata, t.usage_id, t.member_id,
                       t.actor_role, t.created_at, t.entry_type, t.action_type,
                       array(
                         select part from unnest(t.grant_ids, t.grant_tokens) as part (grant_id, tokens)) as allocations,
                       t.original_id, t.balance_after, t.idempotency_key, t.reserved_change
                  from public.token_transactions t
                 where t.user_id = p_user_id and t.id < coalesce(p_before, 9223372036854775807)
                 order by t.id desc
                 limit p_limit + 1)
               union all
               (select h.id, null, h.tokens, null, null, h.metadata, null, null,
                       null, h.created_at, 'history', h.action_type,
                       '{}',
                       null, null, null, 0
                  from public.legacy_token_transactions h
                 where h.user_id = p_user_id and h.id < coalesce(p_before, 9223372036854775807)
                 order by h.id desc
                 limit p_limit + 1)
               order by id desc
               limit p_limit + 1) entry) as entries
    into v_page;
  if not v_page.is_known then
    perform private.require_user(p_user_id, v_actor.actor_role);
  end if;

  return jsonb_build_object(
    'transactions', v_page.entries[:p_limit],
    'next_before', case when cardinality(v_page.entries) > p_limit
                        then to_jsonb(v_page.entries[p_limit]) -> 'id' end);
end
$$;
comment on function private.get_token_history(uuid, integer, bigint) is 'See public.get_token_history.';
revoke all on function private.get_token_history(uuid, integer, bigint) from public, anon, authenticated, service_role;
grant execute on function private.get_token_history(uuid, integer, bigint) to authenticated, service_role;

create or replace function public.get_token_history(
  p_user_id uuid default auth.uid(),
  p_limit integer default 50,
  p_before bigint default null
)
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  return private.get_token_history(p_user_id, p_limit, p_before);
end
$$;
comment on function public.get_token_history(uuid, integer, bigint) is
  'The user''s transactions, newest first. For the user himself (leave p_user_id out), an admin, or the server. p_limit 1 to 200; p_before the next_before of the page before. Returns {transactions: [{id, entry_type, action_type, tokens (signed), reserved_change (set aside by it), balance_after, allocations: [{grant_id, tokens}], reason, actor_role, actor_id, idempotency_key, usage_id, hold_id, original_id (the transaction that it undoes), member_id (the member of the team who spent it), metadata, created_at}], next_before (NULL on the last page)}. entry_type as in the ledger, and history for what is older than the books. Errors: not_authenticated, forbidden, invalid_page.';
revoke all on function public.get_token_history(uuid, integer, bigint) from public, anon, authenticated, service_role;
grant execute on function public.get_token_history(uuid, integer, bigint) to authenticated, service_role;

