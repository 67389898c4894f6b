/*
 * Ends a code early: from this commit on nobody redeems it. What it has given stays. The same again changes nothing.
 * Caller: an admin, service_role.   Locks: the code.
 * Errors: not_authenticated, forbidden, invalid_reason, code_not_found, busy.   Keeps: I10.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.end_token_code(p_code_id uuid, p_reason text default null)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_code tokenbook.codes;
  v_replayed boolean;
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  -- validate
  v_actor := tokenbook.authorize_operator();
  perform tokenbook.check_request(null, p_reason, null);

  -- lock
  v_code := tokenbook.lock_code(p_code_id);
  if v_code.id is null then
    perform tokenbook.refuse('code_not_found', '{"field": "p_code_id"}');
  end if;

  -- act, record
  v_replayed := v_code.ended_at is not null;
  if not v_replayed then
    v_at := clock_timestamp();
    update tokenbook.codes c set ended_at = v_at where c.id = p_code_id returning c.* into v_code;
    perform tokenbook.record_change(
      'end_token_code', null, v_actor.actor_role, v_actor.actor_id, p_reason, jsonb_build_object('code_id', p_code_id));
  end if;
  return jsonb_build_object('success', true) || tokenbook.describe_code(v_code) || jsonb_build_object('replayed', v_replayed);
end
$$;
comment on function tokenbook.end_token_code is
  'Ends a code early: nobody redeems it any more; what it has given stays. For an admin or the server. Again changes nothing. Returns {success, code_id, name, state, tokens, grant_type, lifetime_days, max_redemptions, max_per_user, redemptions, valid_from, valid_until, ended_at, created_at, replayed}. Errors: code_not_found, invalid_reason, forbidden, busy.';
