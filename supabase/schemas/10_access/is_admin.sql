/*
 * Whether the caller is an administrator: their token says so, and it is still true. Both are needed:
 * a token outlives the right it was issued with, and a row alone would make an admin of a caller who
 * took over an old session. Never user_metadata: users write that themselves.
 * Caller: tokenbook.authorize, which has looked that they still are a user at all.
 */
create function tokenbook.is_admin()
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(auth.jwt() -> 'app_metadata' ->> 'role' = 'admin', false)
     and exists (select 1 from tokenbook.admins a where a.user_id = tokenbook.caller_id());
end
$$;
comment on function tokenbook.is_admin is
  'True when the caller''s token has app_metadata.role = ''admin'' and tokenbook.admins still lists the caller.';
