/*
 * Chooses what becomes of the use of a model that has no price, from now on: it is recorded with a cost that is not known
 * (record, the default), or track_token_usage and estimate_tokens refuse it (refuse). A capture is recorded in any case:
 * the call has been made. While no model has a price, none is unknown.
 * Caller: service_role.   Locks: nothing.   Errors: invalid_model_policy, unsupported_media_type, invalid_request.
 * Keeps: I10.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.set_token_unknown_model_policy(p_policy text)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  perform tokenbook.check_body(); -- @server-sends-one-object
  if p_policy is null or p_policy not in ('record', 'refuse') then
    perform tokenbook.refuse('invalid_model_policy', '{"field": "p_policy", "rule": "record or refuse"}');
  end if;
  v_at := clock_timestamp();
  insert into tokenbook.chosen_model_policy as c (policy)
  values (p_policy)
  on conflict (is_current) do update set policy = excluded.policy, chosen_at = v_at;
  perform tokenbook.record_change(
    'set_token_unknown_model_policy', null, 'service', null, null, jsonb_build_object('policy', p_policy));
  return jsonb_build_object('success', true, 'policy', p_policy);
end
$$;
comment on function tokenbook.set_token_unknown_model_policy is
  'Chooses what becomes of the use of a model that has no price, from now on: p_policy record (with an unknown cost; the default) or refuse (unknown_model; not of captures). For the server. Returns {success, policy}. Errors: invalid_model_policy.';
