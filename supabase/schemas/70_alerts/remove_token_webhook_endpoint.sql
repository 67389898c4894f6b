/*
 * Removes an endpoint: nothing is written for it any more, and what waits is not sent. What was sent is listed until it
 * is deleted. No longer there: no error.
 * Caller: an admin, service_role.   Locks: the settings.   Errors: not_authenticated, forbidden, invalid_webhook_endpoint.
 * Keeps: I10.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.remove_token_webhook_endpoint(p_name text)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_is_removed boolean;
begin
  v_actor := tokenbook.authorize_operator();
  if octet_length(p_name) > 32 then -- no endpoint has such a name
    perform tokenbook.refuse('invalid_webhook_endpoint', '{"field": "p_name", "rule": "at most 32 bytes"}');
  end if;
  perform tokenbook.lock_settings();
  delete from tokenbook.webhook_endpoints e where e.name = p_name;
  v_is_removed := found;
  if v_is_removed then
    perform tokenbook.record_change(
      'remove_token_webhook_endpoint', null, v_actor.actor_role, v_actor.actor_id, null, jsonb_build_object('name', p_name));
  end if;
  return jsonb_build_object('success', true, 'removed', v_is_removed);
end
$$;
comment on function tokenbook.remove_token_webhook_endpoint is
  'Removes an endpoint of webhooks; what waits for it is not sent any more, unless one of that name is made again within three days. For an admin or the server. Returns {success, removed (false: there was none)}. Errors: invalid_webhook_endpoint, forbidden.';
