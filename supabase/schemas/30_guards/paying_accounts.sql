/*
 * Whose accounts these users spend from, in the same order: private.paying_account for many.
 * Caller: internal.
 */
create or replace function private.paying_accounts(p_user_ids uuid[])
returns uuid[]
language plpgsql
volatile -- as private.paying_account
security invoker
set search_path = ''
as $$
begin
  return array(
    select coalesce(a.payer_id, u.user_id)
      from unnest(p_user_ids) with ordinality as u (user_id, nth)
      left join public.token_accounts a on a.user_id = u.user_id
     order by u.nth);
end
$$;
comment on function private.paying_accounts(uuid[]) is 'The accounts that these users spend from, in the same order.';
revoke all on function private.paying_accounts(uuid[]) from public, anon, authenticated, service_role;
