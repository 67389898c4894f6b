/*
 * What each grant should have had left when the books opened: the recorded use before that moment,
 * allocated over the grants in burn order, each use to grants that had not run out by then. The migrations
 * gave every active grant its full amount (decision 9); the difference is what they over-granted.
 *
 * Grants are those that the books took over, and admin_grant rows of the trail that no grant stands for:
 * the counter had them, the books never did. A counter that became a grant stands for all that was given
 * before it, the trail's admin_grant rows among it (tokenbook.counter_at_opening). Use is what the trail has;
 * older than its first row, what the old transactions have. Use that no grant was there for is a row of its
 * own, negative, without a grant.
 * A counter that had more than all grants of its user (granted beside them, as `counter_beyond_grants`) is
 * taken as right, and each grant with it: it was after the use, as what it had not deducted was taken off,
 * and nothing says what of it they paid. So all are expected to have what they opened with, and that grant
 * stands for the use that the others did not pay.
 * Between two expiries the order of use does not matter, so the loop runs over expiries, not over rows.
 * Caller: internal.
 */
create function tokenbook.grants_at_opening(p_user_id uuid, p_opening public.token_transactions)
returns table (
  grant_id uuid, is_booked boolean, priority smallint, granted_at timestamptz, expires_at timestamptz,
  tokens_granted bigint, opened_with bigint, expected bigint
)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ids uuid[];
  v_granted bigint[];
  v_expires timestamptz[];
  v_booked boolean[];
  v_priority smallint[];
  v_at timestamptz[];
  v_left bigint[];
  v_span record;
  v_needed bigint;
  v_taken bigint;
  v_uncovered bigint := 0;
  v_counter record;
  v_beyond_id uuid;
begin
  select b.id into v_beyond_id
    from public.token_balances b
   where b.user_id = p_user_id and b.metadata ->> 'source' = 'counter_beyond_grants' and b.grant_type = 'plan'
     and b.created_at <= p_opening.created_at
     and not exists (
       select 1 from public.token_transactions t
        where t.user_id = p_user_id and t.entry_type = 'grant' and t.grant_ids[1] = b.id);
  if v_beyond_id is not null then
    return query
    with booked as (
      select b.id, b.priority, b.granted_at, b.expires_at, b.tokens_granted,
             coalesce((
               select sum(a.tokens) from unnest(p_opening.grant_ids, p_opening.grant_tokens) a (id, tokens)
                where a.id = b.id), 0)::bigint as opened_with
        from public.token_balances b
       where b.user_id = p_user_id
         and not exists (
           select 1 from public.token_transactions t
            where t.user_id = p_user_id and t.entry_type = 'grant' and t.grant_ids[1] = b.id)
    )
    select b.id, true, b.priority, b.granted_at, b.expires_at,
           case when b.id <> v_beyond_id then b.tokens_granted
                else greatest(b.tokens_granted, b.opened_with
                  + (select coalesce(sum(u.tokens), 0) from tokenbook.usage_before_books(p_user_id, p_opening) u)
                  - (select coalesce(sum(o.tokens_granted - o.opened_with), 0) from booked o
                      where o.id <> v_beyond_id and (o.expires_at <= p_opening.created_at) is not true))::bigint end,
           b.opened_with, b.opened_with
      from booked b;
    return;
  end if;

  select c.* into v_counter from tokenbook.counter_at_opening(p_user_id, p_opening) c;
  select array_agg(g.id order by g.nth), array_agg(g.tokens order by g.nth),
         array_agg(g.ends order by g.nth), array_agg(g.booked order by g.nth),
         array_agg(g.priority order by g.nth), array_agg(g.at order by g.nth)
    into v_ids, v_granted, v_expires, v_booked, v_priority, v_at
    from (
      select x.*, row_number() over (order by tokenbook.burn_key(x.priority, x.at, x.ends, x.id, false)) as nth
        from (
          select b.id, case when b.id = v_counter.grant_id then v_counter.tokens_granted else b.tokens_granted end as tokens,
                 coalesce(b.expires_at, 'infinity') as ends, true as booked, b.priority, b.granted_at as at
            from public.token_balances b
           where b.user_id = p_user_id
             and not exists (
               select 1 from public.token_transactions t
                where t.user_id = p_user_id and t.entry_type = 'grant' and t.grant_ids[1] = b.id)
          union all
          select u.usage_id, u.tokens, u.created_at + (tokenbook.built_in_grant_types() -> 'admin' ->> 'lifetime_hours')::integer * interval '1 hour', false, 50::smallint, u.created_at
            from tokenbook.audit_trail(p_user_id) u
           where u.action_type = 'admin_grant' and u.transaction_id is null and u.copy_of is null and u.tokens > 0
             and u.created_at < p_opening.created_at
             and (u.created_at <= v_counter.counted_at) is not true
             -- the app wrote the grant and its record within a minute, as the migrations take it
             and not exists (
               select 1 from public.token_balances b
                where b.user_id = p_user_id and b.tokens_granted = u.tokens
                  and b.granted_at between u.created_at - interval '1 minute' and u.created_at + interval '1 minute')
        ) x
    ) g;
  v_left := v_granted;

  for v_span in
    select coalesce(ends.at, 'infinity') as ends_at, sum(used.tokens)::bigint as tokens
      from tokenbook.usage_before_books(p_user_id, p_opening) used
      left join lateral (
        select min(e) as at from unnest(v_expires) e where e > used.created_at and e <= p_opening.created_at) ends on true
     group by 1
     order by 1
  loop
    v_needed := v_span.tokens;
    for i in 1 .. coalesce(cardinality(v_ids), 0) loop
      exit when v_needed = 0;
      continue when v_expires[i] < v_span.ends_at and v_expires[i] <= p_opening.created_at;
      v_taken := least(v_needed, v_left[i]);
      v_left[i] := v_left[i] - v_taken;
      v_needed := v_needed - v_taken;
    end loop;
    v_uncovered := v_uncovered + v_needed;
  end loop;

  return query
  select g.id, g.booked, g.priority, g.at, nullif(g.ends, 'infinity'),
         g.granted - case when g.id = v_counter.grant_id then v_counter.admin_granted else 0 end,
         coalesce((
           select sum(a.tokens) from unnest(p_opening.grant_ids, p_opening.grant_tokens) a (id, tokens)
            where a.id = g.id), 0)::bigint,
         case when g.ends <= p_opening.created_at then 0 else g.left_over end
    from unnest(v_ids, v_booked, v_priority, v_at, v_expires, v_granted, v_left)
      as g (id, booked, priority, at, ends, granted, left_over)
  union all
  select null, false, 0::smallint, v_counter.counted_at, null, v_counter.admin_granted, 0, 0
   where v_counter.admin_granted > 0
  union all
  select null, false, 0::smallint, '-infinity', null, 0, 0, -v_uncovered
   where v_uncovered > 0;
end
$$;
comment on function tokenbook.grants_at_opening is
  'What each grant from before the books opened with, and what it should have had left by the recorded use.';
