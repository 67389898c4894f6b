/*
 * Makes the account due by that moment at the latest: something of it, a grant or a hold, runs out
 * then. NULL is never. The caller holds the account's lock.
 * Caller: internal.   Keeps: I7.
 */
create function tokenbook.bring_due_forward(p_user_id uuid, p_at timestamptz)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  update public.token_accounts a
     set next_due_at = p_at
   where a.user_id = p_user_id and p_at < coalesce(a.next_due_at, 'infinity');
end
$$;
comment on function tokenbook.bring_due_forward is
  'Makes the account due by that moment at the latest; NULL is never. The caller holds its lock.';
