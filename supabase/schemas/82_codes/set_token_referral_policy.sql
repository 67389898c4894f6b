/*
 * Chooses what both sides of a referral are given, for the whole project, from now on: for first payments that are booked
 * from this commit on, whenever the referral was claimed. With NULL for both: nothing, the default.
 * Caller: service_role.   Locks: nothing.
 * Errors: invalid_referral_policy, unsupported_media_type, invalid_request.   Keeps: I10.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.set_token_referral_policy(
  p_referrer_tokens bigint,
  p_referred_tokens bigint,
  p_rewards_per_referrer integer default 10,
  p_lifetime_days integer default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_limit constant bigint := tokenbook.limits() -> 'tokens';
  v_is_on constant boolean := num_nonnulls(p_referrer_tokens, p_referred_tokens) > 0;
  v_chosen jsonb;
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  perform tokenbook.check_body(); -- @server-sends-one-object
  if v_is_on and (p_referrer_tokens between 1 and v_limit) is not true then
    perform tokenbook.refuse('invalid_referral_policy', jsonb_build_object(
      'field', 'p_referrer_tokens', 'rule', format('1 to %s, or null for both: off', v_limit)));
  elsif v_is_on and (p_referred_tokens between 1 and v_limit) is not true then
    perform tokenbook.refuse('invalid_referral_policy', jsonb_build_object(
      'field', 'p_referred_tokens', 'rule', format('1 to %s, or null for both: off', v_limit)));
  elsif (p_rewards_per_referrer between 1 and 10000) is not true then
    perform tokenbook.refuse('invalid_referral_policy', '{"field": "p_rewards_per_referrer", "rule": "1 to 10000"}');
  elsif p_lifetime_days not between 1 and 36500 then
    perform tokenbook.refuse('invalid_referral_policy', '{"field": "p_lifetime_days", "rule": "1 to 36500"}');
  end if;

  if v_is_on then
    v_at := clock_timestamp();
    insert into tokenbook.chosen_referral_policy as c (referrer_tokens, referred_tokens, lifetime_days, rewards_per_referrer)
    values (p_referrer_tokens, p_referred_tokens, p_lifetime_days, p_rewards_per_referrer)
    on conflict (is_current) do update
       set referrer_tokens = excluded.referrer_tokens, referred_tokens = excluded.referred_tokens,
           lifetime_days = excluded.lifetime_days, rewards_per_referrer = excluded.rewards_per_referrer,
           chosen_at = v_at;
  else
    delete from tokenbook.chosen_referral_policy c where c.is_current;
  end if;
  v_chosen := jsonb_build_object(
    'is_on', v_is_on, 'referrer_tokens', p_referrer_tokens, 'referred_tokens', p_referred_tokens,
    'rewards_per_referrer', case when v_is_on then p_rewards_per_referrer end,
    'lifetime_days', case when v_is_on then p_lifetime_days end);
  perform tokenbook.record_change('set_token_referral_policy', null, 'service', null, null, v_chosen);
  return jsonb_build_object('success', true) || v_chosen;
end
$$;
comment on function tokenbook.set_token_referral_policy is
  'Chooses what both sides of a referral are given at the first payment of the user who was referred, from now on: p_referrer_tokens and p_referred_tokens 1 to 10^12 each, or NULL for both: nothing (the default). p_rewards_per_referrer: how many of a user''s referrals are rewarded, 1 to 10000; p_lifetime_days of both grants, left out: for ever. For the server. Returns {success, is_on, referrer_tokens, referred_tokens, rewards_per_referrer, lifetime_days}. Errors: invalid_referral_policy.';
