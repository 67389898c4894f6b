/*
 * The id of the grant of a slot: made from the period and the slot's start, so that what is due has it before it is
 * booked, and one slot has one grant. Two payments for one plan are two periods, and have slots of their own.
 * Caller: internal.
 */
create function tokenbook.slot_grant_id(p_period tokenbook.subscriptions, p_slot_start timestamptz)
returns uuid
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return left(encode(sha256(convert_to(
    format('slot %s %s %s %s %s', p_period.id, p_period.plan_type, p_period.payment_id,
           extract(epoch from p_period.period_start), extract(epoch from p_slot_start))
    -- a test user's past can be moved to where another slot was
    || coalesce(p_period.schedule -> 'moved' ->> 'id', ''), 'UTF8')), 'hex'), 32)::uuid; -- @moved-slots-are-others
end
$$;
comment on function tokenbook.slot_grant_id is
  'The id of the grant of a slot of a period.';
