/*
 * The id of a payment that a subscription names, NULL where it names none of ours (a contract's number, another
 * provider's): so that it is looked up by its index, and not compared as text with all that its user ever paid (I11).
 * Caller: internal, and readers of token_subscriptions.
 */
create function tokenbook.payment_id_in(p_name text)
returns uuid
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return case when p_name ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then p_name::uuid end;
end
$$;
comment on function tokenbook.payment_id_in is
  'The id of a payment that a subscription names, NULL where it names none of ours.';
