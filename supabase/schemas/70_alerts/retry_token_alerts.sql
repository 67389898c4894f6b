/*
 * Puts alerts that were given up back into the outbox, as if new: for when the receiver works again.
 * Those of the last three days; older news is none. At most p_limit a call: call it until it returns 0.
 * Caller: an admin, service_role.   Locks: these alerts.   Returns how many.
 * Errors: not_authenticated, forbidden, invalid_scope, invalid_page.
 */
-- Security definer: nobody may write the tables themselves.
create function tokenbook.retry_token_alerts(
  p_user_id uuid default null,
  p_for_everyone boolean default false,
  p_limit integer default 1000
)
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
  if p_limit is null or p_limit not between 1 and 10000 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 10000"}');
  end if;
  update public.token_alerts t
     set delivery = 'pending', attempts = 0, next_attempt_at = clock_timestamp(), settled_at = null
    from (
      select o.user_id, o.id from public.token_alerts o
       where o.delivery = 'given_up' and o.created_at >= clock_timestamp() - interval '72 hours'
         and (p_user_id is null or o.user_id = p_user_id)
       order by o.created_at
       limit p_limit
         for no key update skip locked) given_up
   where t.user_id = given_up.user_id and t.id = given_up.id;
  get diagnostics v_retried = row_count;
  if v_retried > 0 then
    perform tokenbook.record_change(
      'retry_token_alerts', p_user_id, v_actor.actor_role, v_actor.actor_id, null, jsonb_build_object('alerts', v_retried));
  end if;
  return v_retried;
end
$$;
comment on function tokenbook.retry_token_alerts is
  'Sends alerts of the last three days again that were given up, of one user (p_user_id) or of all (p_for_everyone true), and one of the two has to be said; at most p_limit (1 to 10000) a call, returns how many, 0 when all are. For an admin or the server. Errors: invalid_scope, invalid_page, forbidden.';
