/*
 * Whether the caller may be told of that user's books: the user themself while there is one, an admin, the server. For
 * what policies and views ask of each row, which is to answer and not to refuse; everything else asks
 * tokenbook.authorize.
 * Caller: internal.
 */
create function tokenbook.is_asked_of_own(p_user_id uuid)
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_role constant text := tokenbook.caller_role();
begin
  return coalesce(
    v_role = 'service'
    or v_role = 'user' and tokenbook.is_user(tokenbook.caller_id())
      and (tokenbook.caller_id() is not distinct from p_user_id or tokenbook.is_admin()), false);
end
$$;
comment on function tokenbook.is_asked_of_own is
  'Whether the caller may be told of that user''s books: the user themself, an admin, the server. Answers, where authorize refuses.';
