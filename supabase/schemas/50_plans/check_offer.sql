/*
 * What set_token_plan, set_token_pack, set_token_model_price, set_token_model_rate and set_token_action_cost have in common before they
 * write: who asks, why, and that the fields are one object. Locks the settings: changes of the catalogue and of prices
 * are one after the other.
 * Caller: internal.   Returns the actor.
 * Errors: not_authenticated, forbidden, invalid_reason, p_slug (invalid_plan, invalid_pack, …).
 */
create function tokenbook.check_offer(
  p_slug text,
  p_field text,
  p_given jsonb,
  p_reason text,
  out actor_role text,
  out actor_id uuid
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  select a.actor_role, a.actor_id into actor_role, actor_id from tokenbook.authorize_operator() a;
  if (jsonb_typeof(p_given) = 'object' and octet_length(p_given::text) <= 65536) is not true then
    perform tokenbook.refuse(p_slug, jsonb_build_object('field', p_field, 'rule', 'an object of at most 65536 bytes'));
  elsif p_reason is null then
    perform tokenbook.refuse('invalid_reason', '{"field": "p_reason", "rule": "1 to 500 characters, not all blank"}');
  end if;
  perform tokenbook.check_request(null, p_reason, null);
  perform tokenbook.lock_settings();
end
$$;
comment on function tokenbook.check_offer is
  'Refuses a caller who may not change the catalogue and the prices, no object and no reason; locks the settings and returns the actor.';
