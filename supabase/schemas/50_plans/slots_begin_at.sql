/*
 * When the first slot begins that a subscription's plans give by themselves and that is not booked: of the one that was
 * recorded to be in force, and of each period that was paid for. NULL = none.
 * Caller: internal.   Keeps: I7, I12.
 */
create function tokenbook.slots_begin_at(p_subscription tokenbook.subscriptions)
returns timestamptz
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return least(
    case when p_subscription.next_slot_at < coalesce(tokenbook.slots_until(p_subscription), 'infinity')
         then p_subscription.next_slot_at end,
    case when p_subscription.beside <> '[]' then (
      select min(one.next_slot_at)
        from tokenbook.plans_of(p_subscription) one
       where one.payment_id is not null
         and one.next_slot_at < coalesce(tokenbook.slots_until(one), 'infinity')) end);
end
$$;
comment on function tokenbook.slots_begin_at is
  'When the first slot begins that a subscription''s plans give by themselves and that is not booked; NULL = none.';
