/*
 * How much of a slot's tokens is taken back at once, because a part of the money that paid for them is gone: so that of
 * all that the payment has given, this slot included, the share that is lost is taken back, rounded down.
 * p_given is what the payment has given before.
 * Caller: internal.   Keeps: I12.
 */
create function tokenbook.slot_share(p_given bigint, p_tokens bigint, p_lost_cents bigint, p_amount_cents bigint)
returns bigint
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when coalesce(p_lost_cents, 0) <= 0 then 0
    when p_lost_cents >= p_amount_cents then p_tokens
    else floor((p_given + p_tokens)::numeric * p_lost_cents / p_amount_cents)
       - floor(p_given::numeric * p_lost_cents / p_amount_cents)
  end;
end
$$;
comment on function tokenbook.slot_share is
  'How much of a slot''s tokens is taken back because a part of the money that paid for them is gone.';
