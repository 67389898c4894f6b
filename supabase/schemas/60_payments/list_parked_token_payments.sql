/*
 * Payments that providers told us of whose user or plan is not known, oldest first.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create function tokenbook.list_parked_token_payments()
returns table (provider text, provider_payment_id text, user_id uuid, plan_type text, is_paid boolean, amount_cents bigint, currency text, refunded_cents bigint, created_at timestamptz)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.authorize_operator();
  return query
  select f.provider, f.provider_payment_id, f.user_id, f.plan_type, f.is_paid, f.amount_cents, f.currency,
         f.refunded_cents, f.created_at
    from tokenbook.provider_payments f
   where f.user_id is null or f.plan_type is null
   order by f.created_at;
end
$$;
comment on function tokenbook.list_parked_token_payments is
  'Payments of providers whose user or plan is not known yet, oldest first; see assign_parked_token_payment. For an admin or the server. Errors: not_authenticated, forbidden.';
