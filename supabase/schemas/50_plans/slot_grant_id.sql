/*
 * The id of the grant of a slot: made from the subscription and the slot's start, so that what is due has it before
 * it is booked, one slot has one grant, and a slot's grant is told from a period's.
 * Caller: internal.
 */
create function tokenbook.slot_grant_id(p_subscription_id uuid, p_slot_start timestamptz)
returns uuid
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return left(encode(sha256(convert_to(
    format('slot %s %s', p_subscription_id, extract(epoch from p_slot_start)), 'UTF8')), 'hex'), 32)::uuid;
end
$$;
comment on function tokenbook.slot_grant_id is
  'The id of the grant of a subscription''s slot.';
