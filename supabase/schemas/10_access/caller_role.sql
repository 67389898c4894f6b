/*
 * What the session's role is to the books: user, or service (the server; psql, a migration, a scheduled job); NULL, one
 * that is not known. A security definer function does not change it.
 * No search_path of its own, so that Postgres inlines it into the calling expression (decision 22).
 * Caller: internal.
 */
create function tokenbook.caller_role()
returns text
language sql
stable
security invoker
as $$
  select case coalesce(nullif(current_setting('role'), 'none'), session_user)
    when 'authenticated' then 'user'
    when 'service_role' then 'service'
    when 'postgres' then 'service'
    when 'supabase_admin' then 'service'
  end
$$;
comment on function tokenbook.caller_role is
  'What the session''s role is to the books: user or service; NULL for one that is not known.';
