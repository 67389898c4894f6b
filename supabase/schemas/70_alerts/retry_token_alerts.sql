/*
 * Puts alerts that were given up back into the outbox, as if new: for when the receiver works again.
 * Those of the last three days; older news is none.
 * Caller: an admin, service_role.   Locks: these alerts.   Returns how many.
 * Errors: not_authenticated, forbidden, invalid_scope.
 */
-- Security definer: nobody may write the tables himself.
create function tokenbook.retry_token_alerts(p_user_id uuid default null, p_for_everyone boolean default false)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_retried bigint;
begin
  v_actor := tokenbook.authorize_operator();
  perform tokenbook.check_scope(p_user_id, null, p_for_everyone);
  update public.token_alerts t
     set delivery = 'pending', attempts = 0, next_attempt_at = clock_timestamp(), settled_at = null
   where t.delivery = 'given_up' and t.created_at >= clock_timestamp() - interval '72 hours'
     and (p_user_id is null or t.user_id = p_user_id);
  get diagnostics v_retried = row_count;
  if v_retried > 0 then
    perform tokenbook.record_change(
      'retry_token_alerts', p_user_id, v_actor.actor_role, v_actor.actor_id, null, jsonb_build_object('alerts', v_retried));
  end if;
  return v_retried;
end
$$;
comment on function tokenbook.retry_token_alerts is
  'Sends alerts of the last three days again that were given up, of one user (p_user_id) or of all (p_for_everyone true), and one of the two has to be said; returns how many. For an admin or the server. Errors: invalid_scope, forbidden.';
