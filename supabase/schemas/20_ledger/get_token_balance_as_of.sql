/*
 * A user's balance as it was at a moment: from the ledger up to then, with what had run out by then
 * (booked or not) not counted, and what the plan's schedule gave and what began by then (booked or not) counted. In
 * passes over the user's ledger.
 * Caller: the user for themself (p_user_id left out), an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_moment, user_not_found,
 * before_the_books, account_lost.   Keeps: I7.
 */
-- Security definer: an admin reads other users' rows.
create function tokenbook.get_token_balance_as_of(
  p_user_id uuid default tokenbook.caller_id(),
  p_at timestamptz default null
)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_opened_at timestamptz;
  v_expiring_first boolean;
  v_slots public.token_balances[];
begin
  v_actor := tokenbook.authorize(p_user_id, p_self_may => true);
  if p_at is null or p_at > clock_timestamp() then
    perform tokenbook.refuse('invalid_moment', '{"field": "p_at", "rule": "not in the future"}');
  end if;
  perform tokenbook.require_user(p_user_id, v_actor.actor_role);
  if tokenbook.is_ledger_lost(p_user_id) then
    perform tokenbook.refuse('account_lost', '{}');
  end if;
  select t.created_at into v_opened_at
    from public.token_transactions t
   where t.user_id = p_user_id and t.id = 1 and t.entry_type = 'opening_balance';
  if p_at < v_opened_at then
    perform tokenbook.refuse('before_the_books', jsonb_build_object('opened_at', v_opened_at));
  end if;
  v_expiring_first := tokenbook.is_expiring_first_at(p_at);
  v_slots := array(select s from tokenbook.due_slots_as_of(p_user_id, p_at) s);

  return (
    with ledger as materialized (
      select t.entry_type, t.tokens, t.debt_change, t.reserved_change, t.grant_ids, t.grant_tokens
        from public.token_transactions t
       where t.user_id = p_user_id and t.created_at <= p_at
    ), totals as (
      select coalesce(sum(t.debt_change), 0)::bigint as owed,
             coalesce(sum(t.reserved_change), 0)::bigint as reserved,
             coalesce(-sum(t.tokens) filter (where t.entry_type in ('expiry', 'rollover')), 0)::bigint as expired -- what was carried over is not lost
        from ledger t
    ), allocated as (
      select part.grant_id,
             sum(case when t.tokens < t.reserved_change then -part.tokens else part.tokens end)::bigint as tokens
        from ledger t
       cross join lateral unnest(t.grant_ids, t.grant_tokens) as part (grant_id, tokens)
       where t.tokens <> t.reserved_change -- a capture spends what the hold had taken
       group by part.grant_id
    ), came_back as ( -- from holds that had run out, and nobody had booked it
      select part.grant_id, sum(part.tokens)::bigint as tokens
        from public.token_holds h
       cross join lateral unnest(h.grant_ids, h.grant_tokens) as part (grant_id, tokens)
       where h.user_id = p_user_id and h.created_at <= p_at and h.expires_at <= p_at -- @past-holds-run-out
         and (h.settled_at is null or h.settled_at > p_at)
         and (h.parent_id is null or not tokenbook.is_parent_open(h.user_id, h.parent_id, p_at)) -- @past-children-return
       group by part.grant_id
    ), known as (
      select b.id, b.grant_type, b.tokens_granted, b.priority, b.granted_at, b.expires_at, b.pays_for,
             tokenbook.expiry_as_granted(row(b.*)::public.token_balances) as granted_until, a.tokens, coalesce(c.tokens, 0) as back
        from allocated a
        join public.token_balances b on b.user_id = p_user_id and b.id = a.grant_id
        left join came_back c on c.grant_id = a.grant_id
      union all
      select d.id, d.grant_type, d.tokens_granted, d.priority, d.granted_at, d.expires_at, d.pays_for, d.expires_at, d.tokens_remaining, 0
        from unnest(v_slots) d -- @past-slots-count
      union all
      select u.id, u.grant_type, u.tokens_granted, u.priority, u.granted_at, u.expires_at, u.pays_for, u.expires_at, u.tokens_granted, 0
        from public.token_transactions t
       cross join lateral tokenbook.upcoming_grant(row(t.*)::public.token_transactions) u
       where t.user_id = p_user_id and t.created_at <= p_at and t.terms ? 'upcoming' and u.granted_at <= p_at -- @past-beginnings-count
         and not exists ( -- booked by then, called off, or there was no room for it
           select 1 from public.token_transactions b
            where b.user_id = p_user_id and b.original_id = t.id
              and (b.created_at <= p_at or b.entry_type = 'void' and b.actor_role = 'system'))
    ), grants as (
      select k.*,
             coalesce(k.expires_at > p_at, true) as is_alive, -- @past-grants-run-out
             row_number() over (
               partition by coalesce(k.expires_at > p_at, true) and k.tokens + k.back > 0
               order by tokenbook.burn_key(k.priority, k.granted_at, k.granted_until, k.id, v_expiring_first)) as nth
        from known k
    ), sums as (
      select coalesce(sum(g.tokens + g.back) filter (where g.is_alive), 0)::bigint as active,
             coalesce(sum(g.tokens + g.back) filter (where not g.is_alive), 0)::bigint as lost,
             coalesce(sum(g.back), 0)::bigint as back
        from grants g
    ), due as (
      select least(totals.owed, sums.active) as repaid from totals cross join sums
    ), left_over as ( -- of the grants that could be spent, after what repays the debt, first in burn order
      select g.*, row_number() over (order by g.nth) as place
        from (
          select a.*, least(a.tokens + a.back, sum(a.tokens + a.back) over (order by a.nth) - due.repaid)::bigint as tokens_left
            from grants a
           cross join due
           where a.is_alive and a.tokens + a.back > 0) g
       where g.tokens_left > 0
    ), listed as (
      select min(g.expires_at) as next_expiry,
             count(*) > 100 as has_more,
             jsonb_agg(
               jsonb_build_object(
                 'id', g.id,
                 'grant_type', g.grant_type,
                 'tokens_granted', g.tokens_granted,
                 'tokens_remaining', g.tokens_left,
                 'priority', g.priority,
                 'granted_at', g.granted_at,
                 'expires_at', g.expires_at,
                 'pays_for', g.pays_for)
               order by g.place) filter (where g.place <= 100) as grants
        from left_over g
    )
    select jsonb_build_object(
      'user_id', p_user_id,
      'at', p_at,
      'total_active', sums.active - due.repaid,
      'total_expired', totals.expired + sums.lost,
      'total_reserved', totals.reserved - sums.back,
      'total_owed', totals.owed - due.repaid,
      'next_expiry', listed.next_expiry,
      'grants', coalesce(listed.grants, '[]'),
      'has_more_grants', listed.has_more)
      from totals
     cross join sums
     cross join due
     cross join listed);
end
$$;
comment on function tokenbook.get_token_balance_as_of is
  'What the user could spend at a moment that has passed, from the ledger up to then. For the user themself (leave p_user_id out), an admin, or the server. p_at is that moment. Returns {user_id, at, total_active, total_expired (lost to expiry since the books opened), total_reserved (in holds), total_owed (debt), next_expiry, grants (in the order in which they would have been spent, at most 100): [{id, grant_type, tokens_granted, tokens_remaining, priority, granted_at, expires_at, pays_for}], has_more_grants}. Errors: not_authenticated, forbidden, invalid_moment, before_the_books (facts: opened_at).';
