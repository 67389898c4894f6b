/*
 * Whether the caller is an administrator: his token says so, and it is still true. Both, because
 * a token outlives the right it was issued with, and a row alone would make an admin of whoever
 * took over an old session. Never user_metadata: users write that themselves.
 * Caller: internal.
 */
create or replace function private.is_admin()
returns boolean
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  return coalesce(auth.jwt() -> 'app_metadata' ->> 'role' = 'admin', false)
     and exists (select from private.admins a where a.user_id = auth.uid());
end
$$;
comment on function private.is_admin() is
  'True when the caller''s token has app_metadata.role = ''admin'' and private.admins still lists him.';
revoke all on function private.is_admin() from public, anon, authenticated, service_role;
