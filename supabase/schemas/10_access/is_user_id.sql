/*
 * Whether a text is a user's id, as auth.users has them: a uuid in its usual form.
 * A pattern for all of it would cost ten microseconds more, in every call of whoever is signed in.
 * No search_path of its own, so that Postgres writes it into the expression that asks (decision 22).
 * Caller: internal.
 */
create function tokenbook.is_user_id(p_text text)
returns boolean
language sql
immutable
security invoker
as $$
  select p_text like '________-____-____-____-____________' and p_text !~ '[^0-9a-fA-F-]' and length(replace(p_text, '-', '')) = 32
$$;
comment on function tokenbook.is_user_id is 'Whether a text is a uuid in its usual form, as users have them.';
