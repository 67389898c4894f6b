/*
 * Puts what was given up of an endpoint back into the outbox, as if new: for when the receiver works again.
 * What happened in the last three days; older news is none. At most p_limit a call: call it until it returns 0.
 * Caller: an admin, service_role.   Locks: these deliveries.   Returns how many.
 * Errors: not_authenticated, forbidden, webhook_endpoint_not_found, invalid_page.   Keeps: I10, I11.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.retry_token_webhooks(p_endpoint text, p_limit integer default 1000)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_now constant timestamptz := clock_timestamp();
  v_retried bigint;
begin
  v_actor := tokenbook.authorize_operator();
  if p_limit is null or p_limit not between 1 and 10000 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 10000"}');
  end if;
  perform tokenbook.require_webhook_endpoint(p_endpoint);
  update tokenbook.webhook_deliveries d
     set status = 'pending', attempts = 0, queued_at = v_now, next_attempt_at = v_now, settled_at = null
    from (
      select o.id
        from tokenbook.webhook_deliveries o
       where o.id in (
               select g.id from tokenbook.webhook_deliveries g
                where g.endpoint = p_endpoint and g.status = 'given_up'
                order by g.id desc
                limit p_limit)
         and o.status = 'given_up' and o.created_at >= v_now - interval '72 hours'
         for no key update skip locked) given_up
   where d.id = given_up.id;
  get diagnostics v_retried = row_count;
  if v_retried > 0 then
    perform tokenbook.record_change(
      'retry_token_webhooks', null, v_actor.actor_role, v_actor.actor_id, null,
      jsonb_build_object('endpoint', p_endpoint, 'deliveries', v_retried));
  end if;
  return v_retried;
end
$$;
comment on function tokenbook.retry_token_webhooks is
  'Sends again what was given up of an endpoint and happened in the last three days; at most p_limit (1 to 10000) a call, returns how many, 0 when all are. For an admin or the server. Errors: webhook_endpoint_not_found, invalid_page, forbidden.';
