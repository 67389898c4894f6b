/*
 * A quote: what an operation would deduct and cost, and which grants would pay, by the same code
 * that tracking runs. Reserves nothing: another call may spend the tokens first.
 * A user who never had a grant and has a plan is given its tokens first, as when they ask for their balance.
 * Caller: the user for themself (p_user_id left out), an admin, service_role.   Locks: nothing.
 * Returns {tokens, cost_estimate, sufficient, tokens_short, overdraft_left, tokens_remaining, would_be_deducted_from:
 * [{grant_id, grant_type, granted_at, deducted}]}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_action_type, invalid_usage, unknown_model, user_not_found, busy,
 * read_only.
 */
-- Security definer: an admin reads other users' rows.
create function tokenbook.estimate_tokens(
  p_user_id uuid default tokenbook.caller_id(),
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
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_asked public.token_usage;
  v_actor record;
  v_usage public.token_usage;
  v_payers jsonb;
  v_remaining bigint;
  v_repaid bigint;
  v_payable bigint;
  v_account public.token_accounts;
  v_cap record;
  v_is_frozen boolean;
  v_is_unknown boolean;
  v_now timestamptz;
begin
  v_asked.user_id := p_user_id;
  v_asked.action_type := p_action_type;
  v_asked.model_used := p_model_used;
  v_asked.input_tokens := p_input_tokens;
  v_asked.output_tokens := p_output_tokens;
  v_asked.tokens_used := p_tokens_used;
  v_asked.cached_tokens := p_cached_tokens;
  v_asked.reasoning_tokens := p_reasoning_tokens;
  v_asked.images := p_images;
  v_asked.seconds := p_seconds;
  v_actor := tokenbook.authorize(v_asked.user_id, p_self_may => true);
  perform tokenbook.check_action_type(v_asked.action_type);
  perform tokenbook.check_usage(v_asked);
  perform tokenbook.require_user(v_asked.user_id, v_actor.actor_role);
  v_usage := v_asked;
  select m.tokens_used, m.cost_estimate, m.is_unknown into v_usage.tokens_used, v_usage.cost_estimate, v_is_unknown
    from tokenbook.measure_usage(
      p_action_type, p_model_used, p_input_tokens, p_output_tokens, p_tokens_used, p_cached_tokens,
      p_reasoning_tokens, p_images, p_seconds, clock_timestamp()) as m;
  if v_usage.tokens_used is null then
    perform tokenbook.refuse('invalid_usage',
      '{"field": "p_tokens_used", "rule": "needed where neither tokens nor a cost of the action say what to deduct"}');
  end if;
  if v_is_unknown then
    perform tokenbook.meet_unknown_model(p_model_used, 'user', p_may_refuse => true); -- a quote tells nobody
  end if;
  v_usage.user_id := tokenbook.paying_account(v_asked.user_id);
  perform tokenbook.require_user(v_usage.user_id, 'user'); -- the payer's account may be lost
  if tokenbook.settle_backlog(v_usage.user_id, p_portions => 10) then
    return tokenbook.answer_busy();
  end if;
  if not current_setting('transaction_read_only')::boolean then
    perform tokenbook.grant_initial_plan(v_usage.user_id); -- whom registration missed
  elsif (tokenbook.plan_to_begin(v_usage.user_id)).plan_type is not null then
    perform tokenbook.refuse('read_only', '{}');
  end if;
  v_now := clock_timestamp();

  -- one statement: the balance and the grants that would pay are of one moment
  select coalesce(a.tokens_remaining - due.lost + due.returned + due.given - due.repaid, 0),
         (select coalesce(jsonb_agg(tokenbook.describe_allocation(
                   paid.grant_id, coalesce(b.grant_type, d.grant_type), coalesce(b.granted_at, d.granted_at),
                   paid.tokens) order by paid.nth), '[]')
            from unnest(chosen.grant_ids, chosen.grant_tokens) with ordinality as paid (grant_id, tokens, nth)
            left join public.token_balances b on b.user_id = v_usage.user_id and b.id = paid.grant_id
            left join tokenbook.due_grants(v_usage.user_id, v_now) d -- not booked yet
              on d.id = paid.grant_id and b.id is null),
         due.repaid,
         case when a.restricted_until > v_now
                  and cardinality(chosen.grant_ids) < (tokenbook.limits() -> 'grants_in_one_entry')::integer
           then coalesce((select sum(part) from unnest(chosen.grant_tokens) part), 0) end
    into v_remaining, v_payers, v_repaid, v_payable
    from tokenbook.tokens_due(v_usage.user_id, v_now) as due
   cross join lateral tokenbook.choose_grants(
       v_usage.user_id, v_usage.tokens_used, v_now, (tokenbook.limits() -> 'grants_in_one_entry')::integer, true, due.repaid,
       p_action_type, p_model_used) as chosen
    left join public.token_accounts a on a.user_id = v_usage.user_id;
  select a.* into v_account from public.token_accounts a where a.user_id = v_usage.user_id;
  v_cap := tokenbook.spend_headroom(v_account, nullif(v_asked.user_id, v_usage.user_id), v_now);
  v_is_frozen := tokenbook.is_frozen(v_account, nullif(v_asked.user_id, v_usage.user_id));
  return jsonb_build_object(
    'state', case when v_is_frozen then 'frozen' else 'active' end,
    'tokens', v_usage.tokens_used,
    'cost_estimate', v_usage.cost_estimate,
    'sufficient', not v_is_frozen and least(v_remaining, v_payable, v_cap.headroom) >= v_usage.tokens_used,
    'tokens_short', greatest(v_usage.tokens_used - least(v_remaining, v_payable, v_cap.headroom), 0),
    'overdraft_left', tokenbook.overdraft_left(v_account, v_repaid),
    'tokens_remaining', v_remaining,
    'would_be_deducted_from', v_payers)
    || tokenbook.describe_shortage(
         case when v_cap.headroom < v_usage.tokens_used then v_cap.capped_by end,
         case when v_payable < least(v_usage.tokens_used, v_remaining) then v_remaining - v_payable end);
end
$$;
comment on function tokenbook.estimate_tokens is
  'A quote: what an operation would deduct and cost, and which grants would pay; nothing is changed. For the user themself (leave p_user_id out), an admin, or the server. Arguments as of track_token_usage. Returns {state (active, or frozen: not sufficient, however many there are), tokens, cost_estimate (cents, NULL = unknown), sufficient, tokens_short, overdraft_left (how many more the account may come to owe, for a use that asks for an overdraft; no part of the others), tokens_remaining, would_be_deducted_from: [{grant_id, grant_type, granted_at, deducted}]}, and capped_by {scope, window, limit, used, resets_at} where a spend cap allows less, and tokens_restricted where so many of tokens_remaining are in grants that do not pay for this action and model. Errors: invalid_action_type, invalid_usage, unknown_model, user_not_found, forbidden, busy, read_only.';
