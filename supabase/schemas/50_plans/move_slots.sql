/*
 * A subscription's row when everything is booked that its plans give by themselves until p_at: each of them moved on to
 * its next slot, and never back. What gives nothing at p_at, because its money is gone, keeps its place: it may give again.
 * Caller: internal, holding the account's lock.   Keeps: I12.
 */
create function tokenbook.move_slots(p_subscription tokenbook.subscriptions, p_at timestamptz)
returns tokenbook.subscriptions
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set timezone = 'UTC' -- a moment's text must not depend on the session's time zone
as $$
declare
  v_is tokenbook.subscriptions := p_subscription;
begin
  v_is.next_slot_at := tokenbook.slot_after(p_subscription, p_at);
  if v_is.beside <> '[]' then
    v_is.beside := (
      select jsonb_agg(
               case when one.payment_id is not null
                    then e.plan || jsonb_build_object('next_slot_at', tokenbook.slot_after(one, p_at)) else e.plan end
               order by e.nth)
        from jsonb_array_elements(v_is.beside) with ordinality as e (plan, nth)
       cross join lateral jsonb_populate_record(p_subscription, e.plan) one);
  end if;
  return v_is;
end
$$;
comment on function tokenbook.move_slots is
  'A subscription''s row when everything is booked that its plans give by themselves until p_at.';
