/*
 * The 1,000 alerts that are due first: as far as one call looks (I11), however many are undelivered.
 * Caller: internal.   Locks: nothing: whoever takes one locks it, and asks again whether it is due.
 */
create function tokenbook.first_due_alerts(p_now timestamptz)
returns table (user_id uuid, id bigint, next_attempt_at timestamptz)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select t.user_id, t.id, t.next_attempt_at
    from public.token_alerts t
   where t.delivery = 'pending' and t.next_attempt_at <= p_now
   order by t.next_attempt_at
   limit 1000;
end
$$;
comment on function tokenbook.first_due_alerts is
  'The 1,000 alerts that are due to be sent first, as far as one call of claim_token_alerts looks.';
