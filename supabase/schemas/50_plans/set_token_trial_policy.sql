/*
 * Chooses what a user who had a trial gets of another, for the whole project, from now on: all of it (allow), nothing
 * (refuse, the default), or a part (reduced): p_reduced_percent of its tokens or p_reduced_tokens. Trials are
 * remembered whichever it is.
 * Caller: service_role.   Locks: nothing.
 * Errors: invalid_trial_policy, unsupported_media_type, invalid_request.   Keeps: I10.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.set_token_trial_policy(
  p_policy text,
  p_reduced_percent integer default null,
  p_reduced_tokens bigint default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_limit constant bigint := tokenbook.limits() -> 'tokens';
  v_chosen jsonb;
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  perform tokenbook.check_body(); -- @server-sends-one-object
  if p_policy is null or p_policy not in ('allow', 'refuse', 'reduced') then
    perform tokenbook.refuse('invalid_trial_policy', '{"field": "p_policy", "rule": "allow, refuse or reduced"}');
  elsif num_nonnulls(p_reduced_percent, p_reduced_tokens) <> (case p_policy when 'reduced' then 1 else 0 end) then
    perform tokenbook.refuse('invalid_trial_policy', jsonb_build_object(
      'field', 'p_reduced_percent',
      'rule', case p_policy when 'reduced' then 'this or p_reduced_tokens, one of the two'
                            else 'neither this nor p_reduced_tokens: they are for reduced' end));
  elsif p_reduced_percent not between 1 and 99 then
    perform tokenbook.refuse('invalid_trial_policy', '{"field": "p_reduced_percent", "rule": "1 to 99"}');
  elsif p_reduced_tokens not between 1 and v_limit then
    perform tokenbook.refuse('invalid_trial_policy', jsonb_build_object(
      'field', 'p_reduced_tokens', 'rule', format('1 to %s', v_limit)));
  end if;
  v_at := clock_timestamp();
  insert into tokenbook.chosen_trial_policy as c (policy, reduced_percent, reduced_tokens)
  values (p_policy, p_reduced_percent, p_reduced_tokens)
  on conflict (is_current) do update
     set policy = excluded.policy, reduced_percent = excluded.reduced_percent,
         reduced_tokens = excluded.reduced_tokens, chosen_at = v_at;
  v_chosen := jsonb_build_object(
    'policy', p_policy, 'reduced_percent', p_reduced_percent, 'reduced_tokens', p_reduced_tokens);
  perform tokenbook.record_change('set_token_trial_policy', null, 'service', null, null, v_chosen);
  return jsonb_build_object('success', true) || v_chosen;
end
$$;
comment on function tokenbook.set_token_trial_policy is
  'Chooses what a user who had a trial gets of another, from now on: p_policy allow (all of it), refuse (nothing; the default) or reduced (p_reduced_percent of its tokens, 1 to 99, or p_reduced_tokens). For the server. Returns {success, policy, reduced_percent, reduced_tokens}. Errors: invalid_trial_policy.';
