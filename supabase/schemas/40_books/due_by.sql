/*
 * Makes the account due by that moment at the latest: something of it, a grant or a hold, runs out
 * then. NULL is never. The caller holds the account's lock.
 * Caller: internal.   Keeps: I7.
 */
create or replace function private.due_by(p_user_id uuid, p_at timestamptz)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  update public.token_accounts a
     set next_due_at = p_at
   where a.user_id = p_user_id and p_at < coalesce(a.next_due_at, 'infinity');
end
$$;
comment on function private.due_by(uuid, timestamptz) is
  'Makes the account due by that moment at the latest; NULL is never. The caller holds its lock.';
revoke all on function private.due_by(uuid, timestamptz) from public, anon, authenticated, service_role;
