/*
 * A subscription's row without where its slots are: what two rows have in common of which only slots have moved on.
 * Caller: internal.
 */
create function tokenbook.without_slots(p_subscription tokenbook.subscriptions)
returns tokenbook.subscriptions
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  p_subscription.next_slot_at := null;
  p_subscription.beside := (
    select coalesce(jsonb_agg(e.plan - 'next_slot_at' order by e.nth), '[]')
      from jsonb_array_elements(p_subscription.beside) with ordinality as e (plan, nth));
  return p_subscription;
end
$$;
comment on function tokenbook.without_slots is
  'A subscription''s row without where its slots are.';
