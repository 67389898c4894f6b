/*
 * What is left today of differences that sit in grants: a difference runs out with its grant. What the books
 * have too much of is lost when the grant expires, before the tokens that are right, and moves on to the next
 * grant when this one was spent. A grant that was voided has run out. What they have too little of would have been lost with what was left.
 * p_by_grant: {grant id: tokens}, with '' for what sits in none: use that no grant was there for falls on the
 * first that has something; a grant that was never booked stays what it is.
 * Caller: internal.
 */
create function tokenbook.live_difference(p_user_id uuid, p_by_grant jsonb, p_now timestamptz)
returns bigint
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_grant record;
  v_carried bigint := greatest((p_by_grant ->> '')::bigint, 0);
  v_live bigint := least((p_by_grant ->> '')::bigint, 0);
  v_stays bigint;
begin
  for v_grant in
    select coalesce((p_by_grant ->> b.id::text)::bigint, 0) as difference,
           case when b.expires_at <= p_now then 0 else b.tokens_remaining end as tokens_left,
           case when b.expires_at <= p_now then b.tokens_remaining else 0 end
             + coalesce((
                 select sum(abs(t.grant_tokens[1])) from public.token_transactions t
                  where t.user_id = b.user_id and t.entry_type in ('expiry', 'void') and t.grant_ids[1] = b.id), 0) as tokens_lost
      from public.token_balances b
     where b.user_id = p_user_id
     order by b.priority, b.granted_at, b.id
  loop
    v_carried := v_carried + v_grant.difference;
    if v_grant.tokens_lost > 0 then
      v_carried := greatest(v_carried - v_grant.tokens_lost, 0);
    elsif v_grant.tokens_left > 0 then
      v_stays := least(v_carried, v_grant.tokens_left);
      v_live := v_live + v_stays;
      v_carried := v_carried - v_stays;
    end if;
  end loop;
  return v_live + v_carried;
end
$$;
comment on function tokenbook.live_difference is
  'Of differences by grant, what has not run out with its grant.';
