/*
 * What else was told of a payment's user, plan, pack, quantity or currency than is booked, by field; NULL: nothing.
 * Caller: service_role, through public.token_payment_disagrees.   Locks: nothing.
 */
-- Security definer: nobody reads the table itself.
create function tokenbook.disagreement_of_payment(p_user_id uuid, p_provider text, p_provider_payment_id text)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select f.disagrees
      from tokenbook.provider_payments f
     where f.user_id = p_user_id and f.provider = p_provider and f.provider_payment_id = p_provider_payment_id);
end
$$;
comment on function tokenbook.disagreement_of_payment is
  'What else was told of a payment than is booked, by field.';

/*
 * A computed field for admins: over the API `select=token_payment_disagrees`. It names other users, so the user who
 * paid does not read it. Its parameter has no name, so that it is a field and no rpc.
 * Caller: service_role.
 */
create function public.token_payment_disagrees(public.token_payments)
returns jsonb
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select tokenbook.disagreement_of_payment($1.user_id, $1.provider, $1.provider_payment_id)
$$;
comment on function public.token_payment_disagrees is
  'What else a provider''s events name of a payment than is booked: select p.token_payment_disagrees from token_payments p. For the server. Returns {user_id, plan_type, pack_type, quantity, currency}, of each an array of what else is named, where there is something; NULL: nothing.';
