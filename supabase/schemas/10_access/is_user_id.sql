/*
 * Whether a text is a user's id, as auth.users has them: a uuid in its usual form.
 * A pattern for all of it would cost ten microseconds more, in every call of a signed-in user.
 * Caller: internal (tokenbook.caller_id, with the rights of the signed-in user).
 */
create function tokenbook.is_user_id(p_text text)
returns boolean
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return p_text like '________-____-____-____-____________' and p_text !~ '[^0-9a-fA-F-]' and length(replace(p_text, '-', '')) = 32;
end
$$;
comment on function tokenbook.is_user_id is 'Whether a text is a uuid in its usual form, as users have them.';
