/*
 * Who is calling, and may they do this for that user? The first beat of every function.
 * Returns the actor: ('user', their id), ('admin', their id), or ('service', null).
 * A signed-in caller must still be a user: a token outlives the user it was issued to.
 * A role that is not known is refused (tokenbook.caller_role). "Not yours" and "does not exist" are the same answer.
 * Caller: internal.   Errors: not_authenticated, forbidden, unsupported_media_type, invalid_request, invalid_user_id.
 */
create function tokenbook.authorize(
  p_user_id uuid,
  p_self_may boolean,
  out actor_role text,
  out actor_id uuid
)
returns record
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_role constant text := tokenbook.caller_role();
begin
  if v_role = 'user' then -- @caller-must-be-known
    actor_id := tokenbook.caller_id();
    if actor_id is null then -- an API key is a valid token too, without a subject
      perform tokenbook.refuse('not_authenticated');
    elsif not tokenbook.is_user(actor_id) then -- @caller-still-exists
      perform tokenbook.refuse('not_authenticated');
    elsif p_self_may and actor_id is not distinct from p_user_id then
      actor_role := 'user';
    elsif tokenbook.is_admin() then
      actor_role := 'admin'; -- @admin-is-the-subject
    else
      perform tokenbook.refuse('forbidden');
    end if;
  elsif v_role = 'service' then
    actor_role := 'service';
  else
    perform tokenbook.refuse('not_authenticated');
  end if;

  if not tokenbook.is_plain_body() then
    perform tokenbook.check_body(); -- @callers-send-one-object
  end if;

  if p_user_id is null then
    perform tokenbook.refuse('invalid_user_id', '{"field": "p_user_id", "rule": "not null"}');
  end if;
end
$$;
comment on function tokenbook.authorize is
  'The caller as an actor (user, admin or service), or a refusal: only the user themself where p_self_may, an admin, or the server. NULL-safe.';
