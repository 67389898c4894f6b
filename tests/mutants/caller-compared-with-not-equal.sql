-- The guard that everybody writes first: NULL <> anything is NULL, so a token without a subject passes.
create or replace function private.authorize(
  p_user_id uuid, p_self_may boolean, out actor_role text, out actor_id uuid
)
returns record language plpgsql stable security invoker set search_path = ''
as $$
begin
  if auth.uid() <> p_user_id then
    perform private.refuse('forbidden');
  end if;
  actor_role := 'service';
end
$$;
