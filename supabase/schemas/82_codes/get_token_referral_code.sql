/*
 * The code that a user refers others with, made when they first ask: 60 random bits, for it gives nothing by being known.
 * Caller: the user for themself, an admin, service_role.   Locks: the account.
 * Returns {success, code, is_on, referrer_tokens, referred_tokens, rewards, rewards_left}.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found, busy.   Keeps: I10.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.get_token_referral_code(p_user_id uuid default tokenbook.caller_id())
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_own tokenbook.referral_codes;
  v_policy tokenbook.chosen_referral_policy;
begin
  -- validate
  select * into v_actor from tokenbook.authorize(p_user_id, p_self_may => true);
  perform tokenbook.require_here(p_user_id);

  -- replay
  select c.* into v_own from tokenbook.referral_codes c where c.user_id = p_user_id;
  if v_own.user_id is null then
    -- lock
    perform tokenbook.require_user(p_user_id, v_actor.actor_role);
    perform tokenbook.lock_account(p_user_id, p_create => true); -- what the tokens will come to

    -- act
    insert into tokenbook.referral_codes as c (user_id, code)
    values (p_user_id, tokenbook.normal_code(tokenbook.random_code(12)))
    on conflict (user_id) do nothing;
    if found then
      perform tokenbook.record_change('get_token_referral_code', p_user_id, v_actor.actor_role, v_actor.actor_id, null, '{}');
    end if;
    select c.* into v_own from tokenbook.referral_codes c where c.user_id = p_user_id;
  end if;

  select p.* into v_policy from tokenbook.chosen_referral_policy p where p.is_current;
  return jsonb_build_object(
    'success', true,
    'code', concat_ws('-', substr(v_own.code, 1, 4), substr(v_own.code, 5, 4), substr(v_own.code, 9)),
    'is_on', v_policy.is_current is not null,
    'referrer_tokens', v_policy.referrer_tokens,
    'referred_tokens', v_policy.referred_tokens,
    'rewards', v_own.rewards,
    'rewards_left', case when v_policy.is_current then greatest(v_policy.rewards_per_referrer - v_own.rewards, 0) end);
end
$$;
comment on function tokenbook.get_token_referral_code is
  'The code that a user refers others with, made when they first ask for it. For the user themself, an admin, or the server. Returns {success, code, is_on (whether the project gives anything for a referral), referrer_tokens, referred_tokens (what both are given at the first payment of the user who was referred; NULL when off), rewards (how many of theirs were rewarded), rewards_left (NULL when off)}. Errors: user_not_found, forbidden, busy.';
