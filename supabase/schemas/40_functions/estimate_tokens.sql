/*
 * A quote: what an operation would deduct and cost, and which grants would pay, by the same code
 * that tracking runs. Promises nothing: who asks next may be faster.
 * A user who never had a grant and has a plan is given its tokens first, as when he asks for his balance.
 * Caller: the user for himself (p_user_id left out), an admin, service_role.   Locks: nothing.
 * Returns {tokens, cost_estimate, sufficient, tokens_short, tokens_remaining, would_be_deducted_from:
 * [{grant_id, grant_type, granted_at, deducted}]}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_action_type, invalid_usage, user_not_found.
 */
-- Security definer: an admin reads other users' rows.
create or replace function private.estimate_tokens(p_usage public.token_usage)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_actor record;
  v_usage public.token_usage;
  v_quote public.token_transactions;
  v_remaining bigint;
  v_account public.token_accounts;
  v_cap record;
  v_now timestamptz;
begin
  v_actor := private.authorize(p_usage.user_id, p_self_may => true);
  perform private.check_action_type(p_usage.action_type);
  perform private.check_usage(p_usage);
  perform private.require_user(p_usage.user_id, v_actor.actor_role);
  v_usage := p_usage;
  v_usage.created_at := clock_timestamp();
  v_usage := private.measure_usage(v_usage);
  if v_usage.tokens_used is null then
    perform private.refuse('invalid_usage',
      '{"field": "p_tokens_used", "rule": "needed where neither tokens nor a cost of the action say what to deduct"}');
  end if;
  v_usage.user_id := private.paying_account(p_usage.user_id);
  perform private.initialise(v_usage.user_id); -- whom registration missed
  v_now := clock_timestamp();

  v_quote.user_id := v_usage.user_id;
  -- one statement: what there is and who would pay are of one moment
  select chosen.grant_ids, chosen.grant_tokens,
         coalesce(a.tokens_remaining - due.lost + due.returned - due.repaid, 0)
    into v_quote.grant_ids, v_quote.grant_tokens, v_remaining
    from private.choose_grants(v_usage.user_id, v_usage.tokens_used, v_now, p_count_due => true) as chosen
    left join public.token_accounts a on a.user_id = v_usage.user_id
   cross join lateral private.tokens_due(v_usage.user_id, v_now) as due;
  select a.* into v_account from public.token_accounts a where a.user_id = v_usage.user_id;
  v_cap := private.spend_headroom(v_account, nullif(p_usage.user_id, v_usage.user_id), v_now);
  return jsonb_build_object(
    'tokens', v_usage.tokens_used,
    'cost_estimate', v_usage.cost_estimate,
    'sufficient', least(v_remaining, v_cap.headroom) >= v_usage.tokens_used,
    'tokens_short', greatest(v_usage.tokens_used - least(v_remaining, v_cap.headroom), 0),
    'tokens_remaining', v_remaining,
    'would_be_deducted_from', private.allocations(v_quote))
    || private.capped(case when v_cap.headroom < v_usage.tokens_used then v_cap.capped_by end);
end
$$;
comment on function private.estimate_tokens(public.token_usage) is 'See public.estimate_tokens.';
revoke all on function private.estimate_tokens(public.token_usage) from public, anon, authenticated, service_role;
grant execute on function private.estimate_tokens(public.token_usage) to authenticated, service_role;

create or replace function public.estimate_tokens(
  p_user_id uuid default auth.uid(),
  p_action_type text default null,
  p_model_used text default null,
  p_input_tokens bigint default null,
  p_output_tokens bigint default null,
  p_tokens_used bigint default null,
  p_cached_tokens bigint default null,
  p_reasoning_tokens bigint default null,
  p_images integer default null,
  p_seconds numeric default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_usage public.token_usage;
begin
  v_usage.user_id := p_user_id;
  v_usage.action_type := p_action_type;
  v_usage.model_used := p_model_used;
  v_usage.input_tokens := p_input_tokens;
  v_usage.output_tokens := p_output_tokens;
  v_usage.tokens_used := p_tokens_used;
  v_usage.cached_tokens := p_cached_tokens;
  v_usage.reasoning_tokens := p_reasoning_tokens;
  v_usage.images := p_images;
  v_usage.seconds := p_seconds;
  return private.estimate_tokens(v_usage);
end
$$;
comment on function public.estimate_tokens(uuid, text, text, bigint, bigint, bigint, bigint, bigint, integer, numeric) is
  'A quote: what an operation would deduct and cost, and which grants would pay; nothing is changed. For the user himself (leave p_user_id out), an admin, or the server. Arguments as of track_token_usage. Returns {tokens, cost_estimate (cents, NULL = unknown), sufficient, tokens_short, tokens_remaining, would_be_deducted_from: [{grant_id, grant_type, granted_at, deducted}]}. and capped_by {scope, window, limit, used, resets_at} where a spend cap allows less. Errors: invalid_action_type, invalid_usage, user_not_found, forbidden.';
revoke all on function public.estimate_tokens(uuid, text, text, bigint, bigint, bigint, bigint, bigint, integer, numeric) from public, anon, authenticated, service_role;
grant execute on function public.estimate_tokens(uuid, text, text, bigint, bigint, bigint, bigint, bigint, integer, numeric) to authenticated, service_role;
