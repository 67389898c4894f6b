/*
 * Whether anything is known of a user: they can sign in, or have an account. Of its own, so that no statement reads
 * auth.users and the tables of users together.
 * Caller: internal.
 */
create function tokenbook.is_known_user(p_user_id uuid)
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (select 1 from auth.users u where u.id = p_user_id)
    or exists (select 1 from public.token_accounts a where a.user_id = p_user_id);
end
$$;
comment on function tokenbook.is_known_user is
  'Whether a user can sign in, deleted or not, or has an account.';
