/*
 * Whether a call that a policy may have made is answered: what the functions for row level security ask first, where
 * everything else asks authorize. They answer false to a caller who may not ask or is not signed in; only a call that is wrong in
 * itself is refused.
 * Caller: internal.   Errors: unsupported_media_type, invalid_request, invalid_user_id (the server, without a user).
 */
create function tokenbook.is_call_answered(p_user_id uuid)
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if not tokenbook.is_plain_body() then
    perform tokenbook.check_body();
  end if;
  if tokenbook.caller_role() = 'service' and p_user_id is null then
    perform tokenbook.refuse('invalid_user_id', '{"field": "p_user_id", "rule": "not null"}');
  end if;
  return p_user_id is not null and tokenbook.is_asked_of_own(p_user_id);
end
$$;
comment on function tokenbook.is_call_answered is
  'Whether the functions for row level security answer a call about that user; a caller who may not ask is answered false.';
