/*
 * The accounts that these users spend from, in the same order: tokenbook.paying_account for many.
 * Caller: internal.
 */
create function tokenbook.paying_accounts(p_user_ids uuid[])
returns uuid[]
language plpgsql
volatile -- as tokenbook.paying_account
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return array(
    select coalesce(a.payer_id, u.user_id)
      from unnest(p_user_ids) with ordinality as u (user_id, nth)
      left join public.token_accounts a on a.user_id = u.user_id
     order by u.nth);
end
$$;
comment on function tokenbook.paying_accounts is 'The accounts that these users spend from, in the same order.';
