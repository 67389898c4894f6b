/*
 * Sends a delivery again, as if new, whatever became of it: under the id that it had, so a receiver that keeps those
 * knows it. One that waits is due at once; one that is being sent just now stays as it is.
 * Caller: an admin, service_role.   Locks: the delivery.
 * Errors: not_authenticated, forbidden, webhook_delivery_not_found, webhook_endpoint_not_found.   Keeps: I10.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.repeat_token_webhook_delivery(p_delivery_id bigint)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_delivery tokenbook.webhook_deliveries;
  v_now timestamptz;
begin
  v_actor := tokenbook.authorize_operator();
  select d.* into v_delivery
    from tokenbook.webhook_deliveries d where d.id = p_delivery_id for no key update;
  v_now := clock_timestamp();
  if v_delivery.id is null then
    perform tokenbook.refuse('webhook_delivery_not_found', '{}');
  end if;
  perform tokenbook.require_webhook_endpoint(v_delivery.endpoint);
  if v_delivery.claim_id is null or v_delivery.next_attempt_at <= v_now then -- @not-while-sent
    update tokenbook.webhook_deliveries d
       set status = 'pending', attempts = 0, queued_at = v_now, next_attempt_at = v_now, claim_id = null, settled_at = null
     where d.user_id = v_delivery.user_id and d.id = v_delivery.id
    returning d.* into v_delivery;
    perform tokenbook.record_change(
      'repeat_token_webhook_delivery', v_delivery.user_id, v_actor.actor_role, v_actor.actor_id, null,
      jsonb_build_object('delivery_id', v_delivery.id, 'endpoint', v_delivery.endpoint));
  end if;
  return jsonb_build_object(
    'success', true, 'delivery_id', v_delivery.id, 'status', v_delivery.status,
    'next_attempt_at', v_delivery.next_attempt_at);
end
$$;
comment on function tokenbook.repeat_token_webhook_delivery is
  'Sends a delivery of webhooks again (its id, of list_token_webhook_deliveries), whatever became of it, under the webhook-id that it had. One that is being sent just now stays as it is. For an admin or the server. Returns {success, delivery_id, status, next_attempt_at}. Errors: webhook_delivery_not_found, webhook_endpoint_not_found, forbidden.';
