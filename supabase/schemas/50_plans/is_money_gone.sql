/*
 * Whether a grant was paid for, and all of that money has gone back or is withheld.
 * Caller: internal, holding the account's lock.
 */
create function tokenbook.is_money_gone(p_grant public.token_balances)
returns boolean
language plpgsql
volatile -- it must see what was committed while the caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select 1 from public.token_payments p
     where p.user_id = p_grant.user_id and p.id = p_grant.payment_id
       and p.refunded_cents + p.disputed_cents >= greatest(p.amount_cents, 1));
end
$$;
comment on function tokenbook.is_money_gone is
  'Whether a grant was paid for, and all of that money has gone back or is withheld.';
