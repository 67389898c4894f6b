/*
 * Which field is at fault where no payment of that name is known, and what it must be. Events have ids of their own
 * in the same dashboards.
 * Caller: internal.   Returns the facts of payment_not_found.
 */
create function tokenbook.say_payment_id()
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return '{"field": "p_provider_payment_id", "rule": "what a payment is called that the provider has told of (not the id of an event)"}';
end
$$;
comment on function tokenbook.say_payment_id is 'What p_provider_payment_id must be, as the facts of payment_not_found.';
