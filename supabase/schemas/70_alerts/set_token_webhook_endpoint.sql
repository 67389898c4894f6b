/*
 * Makes an endpoint, or sets one anew: where it is, what it is told of, and whether it is told at all. Holds from its
 * commit on, for what happens afterwards; what waits for it is sent to where it is now.
 * Its secret is not given here: it is a setting of the edge functions, whose name is answered.
 * Of the address the record of changes keeps the origin: the rest may be a secret.
 * Caller: an admin, service_role.   Locks: the settings.
 * Errors: not_authenticated, forbidden, invalid_webhook_endpoint.   Keeps: I10.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.set_token_webhook_endpoint(
  p_name text,
  p_url text,
  p_kinds jsonb default null,
  p_is_enabled boolean default true
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_fault text;
  v_kinds text[] := case when jsonb_typeof(p_kinds) = 'array' then array(select jsonb_array_elements_text(p_kinds)) end;
  v_endpoint tokenbook.webhook_endpoints;
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  -- validate
  v_actor := tokenbook.authorize_operator();
  v_fault := case
    when octet_length(p_name) > 32 or (p_name ~ '^[a-z][a-z0-9_]*$') is not true
      then '{"field": "p_name", "rule": "1 to 32 characters of a-z 0-9 _, a letter first"}'
    when tokenbook.is_webhook_url(p_url) is not true
      then '{"field": "p_url", "rule": "an https address of at most 2000 bytes, without a user or a fragment; http on localhost alone"}'
    when p_kinds is not null
      and (cardinality(v_kinds) between 1 and 100 and array_position(v_kinds, null) is null
           and tokenbook.event_kinds() ?& v_kinds) is not true
      then '{"field": "p_kinds", "rule": "an array of kinds of events (Lists, in the reference), at most 100; left out, all of them"}'
    when p_is_enabled is null
      then '{"field": "p_is_enabled", "rule": "true or false"}'
  end;
  if v_fault is not null then
    perform tokenbook.refuse('invalid_webhook_endpoint', v_fault::jsonb);
  end if;
  perform tokenbook.lock_settings();
  if (select count(*) from tokenbook.webhook_endpoints e where e.name <> p_name) >= 20 then -- each is a row of each event
    perform tokenbook.refuse('invalid_webhook_endpoint', '{"field": "p_name", "rule": "at most 20 endpoints"}');
  end if;

  -- act
  v_at := clock_timestamp();
  insert into tokenbook.webhook_endpoints as e (name, url, kinds, is_enabled)
  values (p_name, p_url, v_kinds, p_is_enabled)
  on conflict (name) do update
     set url = excluded.url, kinds = excluded.kinds, is_enabled = excluded.is_enabled, updated_at = v_at
  returning e.* into v_endpoint;

  -- record
  perform tokenbook.record_change(
    'set_token_webhook_endpoint', null, v_actor.actor_role, v_actor.actor_id, null,
    to_jsonb(v_endpoint) - array['url', 'created_at', 'updated_at']
      || jsonb_build_object('origin', substring(p_url from '^[^/]+//[^/?]+')));
  return tokenbook.describe_webhook_endpoint(v_endpoint);
end
$$;
comment on function tokenbook.set_token_webhook_endpoint is
  'Makes an endpoint of webhooks, or sets the one of that name anew. For an admin or the server. p_name 1 to 32 characters of a-z 0-9 _; p_url https, or http on localhost; p_kinds an array of what it is told of (Lists, in the reference), left out everything; p_is_enabled false: nothing is written for it or sent. Its secret is the setting secret_setting of the edge functions. At most 20 endpoints. Returns {name, url, kinds, is_enabled, secret_setting, created_at, updated_at}. Errors: invalid_webhook_endpoint, forbidden.';
