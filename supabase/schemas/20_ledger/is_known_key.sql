/*
 * Whether a key of a user's has been used; a user's own keys and the server's are apart. What was done with it stays done and is answered again
 * (tokenbook.find_replay), whatever the catalogue and the settings say by now. To be asked before a call is refused for
 * what these say.
 * Caller: internal.
 */
create function tokenbook.is_known_key(p_user_id uuid, p_actor_role text, p_idempotency_key text)
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select from public.token_transactions t
     where t.user_id = p_user_id and t.member_id is null and t.idempotency_key = p_idempotency_key
       and (t.actor_role = 'user') = (p_actor_role = 'user')
    union all
    select from public.token_transactions t
     where t.member_id = p_user_id and t.idempotency_key = p_idempotency_key
       and (t.actor_role = 'user') = (p_actor_role = 'user'));
end
$$;
comment on function tokenbook.is_known_key is
  'Whether a key of a user''s has been used: a user''s own keys and the server''s are apart.';
