/*
 * Whether there is such a user now: auth.users has them, and not as deleted (the auth server can keep the
 * row of a user whom it deletes). A token lives on for up to an hour after its user
 * was deleted, and so do the books; neither makes a user.
 * Caller: internal.
 */
create function tokenbook.is_user(p_user_id uuid)
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (select 1 from auth.users u where u.id = p_user_id and u.deleted_at is null);
end
$$;
comment on function tokenbook.is_user is 'Whether auth.users has that user now.';
