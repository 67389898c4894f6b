/*
 * Puts alerts that were given up back into the outbox, as if new: for when the receiver works again.
 * Those of the last three days; older news is none.
 * Caller: an admin, service_role.   Locks: these alerts.   Returns how many.
 * Errors: not_authenticated, forbidden.
 */
-- Security definer: nobody may write the tables himself.
create or replace function private.retry_token_alerts(p_user_id uuid)
returns bigint
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_retried bigint;
begin
  perform private.authorize_operator();
  update public.token_alerts t
     set delivery = 'pending', attempts = 0, next_attempt_at = clock_timestamp(), settled_at = null
   where t.delivery = 'given_up' and t.created_at >= clock_timestamp() - interval '72 hours'
     and (p_user_id is null or t.user_id = p_user_id);
  get diagnostics v_retried = row_count;
  return v_retried;
end
$$;
comment on function private.retry_token_alerts(uuid) is 'See public.retry_token_alerts.';
revoke all on function private.retry_token_alerts(uuid) from public, anon, authenticated, service_role;
grant execute on function private.retry_token_alerts(uuid) to authenticated, service_role;

create or replace function public.retry_token_alerts(p_user_id uuid default null)
returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.retry_token_alerts(p_user_id);
end
$$;
comment on function public.retry_token_alerts(uuid) is
  'Sends alerts of the last three days again that were given up, of one user or (p_user_id left out) of all; returns how many. For an admin or the server. Errors: forbidden.';
revoke all on function public.retry_token_alerts(uuid) from public, anon, authenticated, service_role;
grant execute on function public.retry_token_alerts(uuid) to authenticated, service_role;
