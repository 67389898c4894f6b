/*
 * Pays for what was really used out of a hold, and gives the rest back, last taken first. Once: a
 * second capture, or one of a hold that was released or ran out, changes nothing and answers what
 * happened (success false unless it was captured).
 *
 * How much: p_tokens; else what the usage fields count for, as in track_token_usage; else all of it.
 * Nothing when it failed, whatever was used: a failed call is recorded and gives everything back.
 * With usage fields the token_usage row is written in the same transaction.
 * More than was held: deduct takes the difference as a new deduction, as of now, all or nothing (short
 * of tokens, under a cap that allows less, or where the spender draws from another account now: they left the team,
 * or joined one; success false, the hold stays open); cap takes no more than was held and records the rest as uncovered; reject refuses.
 * A source grant that ran out meanwhile is honoured; what goes back into it expires at once.
 * Caller: the user for holds he made himself, an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_amount, invalid_usage,
 * invalid_metadata, user_not_found, hold_not_found, account_frozen, capture_exceeds_hold, busy.
 * Keeps: I1 to I4, I7, I8, I10.
 */
-- Security definer: clients and the server may not write the tables themselves.
create function tokenbook.capture_tokens(
  p_user_id uuid,
  p_hold_id uuid,
  p_tokens bigint default null,
  p_over_capture text default 'deduct',
  p_model_used text default null,
  p_input_tokens bigint default null,
  p_output_tokens bigint default null,
  p_success boolean default true,
  p_error_message text default null,
  p_metadata jsonb default null,
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
set plan_cache_mode = force_generic_plan -- decision 27
as $$
declare
  v_asked public.token_usage;
  v_usage public.token_usage;
  v_has_usage boolean := not coalesce(p_success, true) or num_nonnulls(p_model_used, p_input_tokens,
    p_output_tokens, p_images, p_seconds, p_error_message) > 0;
  v_entry public.token_transactions;
  v_locked record;
  v_hold public.token_holds;
  v_tokens bigint;
  v_over bigint;
  v_captured bigint;
  v_account public.token_accounts;
  v_cap record;
  v_has_left boolean; -- the member the team; or a user their own account, for a team
  v_allowed bigint;
begin
  -- validate
  v_asked.user_id := p_user_id;
  v_asked.model_used := p_model_used;
  v_asked.input_tokens := p_input_tokens;
  v_asked.output_tokens := p_output_tokens;
  v_asked.success := p_success;
  v_asked.error_message := p_error_message;
  v_asked.metadata := p_metadata;
  v_asked.cached_tokens := p_cached_tokens;
  v_asked.reasoning_tokens := p_reasoning_tokens;
  v_asked.images := p_images;
  v_asked.seconds := p_seconds;
  select * into v_entry.actor_role, v_entry.actor_id from tokenbook.authorize(v_asked.user_id, p_self_may => true);
  if p_tokens not between 0 and 1000000000000 then
    perform tokenbook.refuse('invalid_amount', '{"field": "p_tokens", "rule": "a whole number from 0 to 1000000000000"}');
  end if;
  if p_over_capture is null or p_over_capture not in ('deduct', 'cap', 'reject') then
    perform tokenbook.refuse('invalid_usage', '{"field": "p_over_capture", "rule": "deduct, cap or reject"}');
  end if;
  perform tokenbook.check_usage(v_asked);
  perform tokenbook.check_request(null, null, v_asked.metadata);

  -- lock, replay
  v_locked := tokenbook.lock_hold(v_asked.user_id, p_hold_id, v_entry.actor_role);
  if v_locked.is_behind then
    return tokenbook.answer_busy();
  end if;
  v_hold := v_locked.hold;
  if v_hold.status <> 'open' then
    return tokenbook.hold_receipt(v_hold, p_replayed => true);
  end if;

  -- act: how much
  v_usage := v_asked;
  v_usage.success := coalesce(v_asked.success, true);
  v_usage.action_type := v_hold.action_type;
  v_usage.created_at := v_locked.locked_at;
  v_usage.tokens_used := p_tokens;
  if v_has_usage then
    v_usage := tokenbook.measure_usage(v_usage);
  end if;
  v_usage.tokens_used := coalesce(v_usage.tokens_used, case when v_usage.success then v_hold.tokens else 0 end);
  v_tokens := case when v_usage.success then v_usage.tokens_used else 0 end;
  v_captured := least(v_tokens, v_hold.tokens); -- @captures-what-was-used
  v_over := v_tokens - v_captured;
  if v_over > 0 and p_over_capture = 'reject' then
    perform tokenbook.refuse('capture_exceeds_hold', jsonb_build_object('limit', v_hold.tokens));
  elsif v_over > 0 and p_over_capture = 'cap' then
    v_hold.tokens_uncovered := v_over;
    v_over := 0;
  elsif v_over > 0 then
    select a.* into v_account from public.token_accounts a where a.user_id = v_hold.user_id;
    v_cap := tokenbook.spend_headroom(v_account, v_hold.member_id, v_locked.locked_at);
    if tokenbook.is_frozen(v_account, v_hold.member_id) then -- @frozen-beyond-the-hold
      perform tokenbook.refuse('account_frozen', '{}');
    end if;
    v_has_left := tokenbook.paying_account(coalesce(v_hold.member_id, v_hold.user_id)) <> v_hold.user_id; -- @beyond-holds-is-new
    v_allowed := case when v_has_left then 0 else least(v_account.tokens_remaining, v_cap.headroom) end;
    if v_allowed < v_over then
      return tokenbook.hold_receipt(v_hold, p_replayed => false)
          || jsonb_build_object('tokens_remaining_to_deduct', v_over - v_allowed)
          || tokenbook.describe_cap(case when not v_has_left and v_cap.headroom < v_over then v_cap.capped_by end);
    end if;
  end if;

  -- act and record: the capture, what goes beyond it, the usage, the rest
  v_entry.user_id := v_hold.user_id;
  v_entry.action_type := v_hold.action_type;
  v_entry.reason := v_hold.action_type;
  v_entry.hold_id := v_hold.id;
  v_entry.member_id := v_hold.member_id;
  v_entry.metadata := coalesce(v_asked.metadata, '{}');
  v_entry.created_at := v_locked.locked_at;
  if v_has_usage then
    v_hold.usage_id := gen_random_uuid();
    v_entry.usage_id := v_hold.usage_id;
  end if;
  if v_captured > 0 or v_has_usage then
    select part.grant_ids, part.grant_tokens into v_entry.grant_ids, v_entry.grant_tokens
      from tokenbook.slice_allocations(v_hold.grant_ids, v_hold.grant_tokens, 0, v_captured) as part;
    v_entry.entry_type := case when v_captured > 0 then 'deduction' else 'usage' end;
    v_entry.tokens := -v_captured;
    v_entry.reserved_change := -v_captured;
    v_hold.capture_id := (tokenbook.record_transaction(
      v_entry, case when v_has_usage and v_usage.success then coalesce(v_usage.cost_estimate, 0) else 0 end)).id;
  end if;
  if v_over > 0 then
    select taken.grant_ids, taken.grant_tokens into v_entry.grant_ids, v_entry.grant_tokens
      from tokenbook.take_from_grants(v_hold.user_id, v_over, v_locked.locked_at) as taken;
    v_entry.tokens := -v_over;
    v_entry.reserved_change := 0;
    v_hold.overage_id := (tokenbook.record_transaction(v_entry)).id;
  end if;
  if v_has_usage then
    v_usage.user_id := v_hold.user_id;
    v_usage.id := v_hold.usage_id;
    v_usage.member_id := v_hold.member_id;
    v_usage.transaction_id := v_hold.capture_id;
    v_usage.tokens_uncovered := v_hold.tokens_uncovered;
    v_usage.metadata := v_entry.metadata;
    insert into public.token_usage values (v_usage.*);
  end if;
  v_hold := tokenbook.close_hold(
    v_hold, v_captured, 'captured', v_locked.locked_at, v_entry.actor_role, v_entry.actor_id);
  return tokenbook.hold_receipt(v_hold, p_replayed => false);
end
$$;
comment on function tokenbook.capture_tokens is
  'Pays for what was really used out of a hold and gives the rest back; once, and a second time answers what happened the first time. For the user (holds that he made himself), an admin, or the server. p_tokens what to pay, left out: what the usage fields count for, else all of it; nothing when p_success is false; p_over_capture when that is more than was held: deduct (the difference as an ordinary deduction, all or nothing), cap or reject; the other arguments as of track_token_usage, and with any of them the usage is recorded in the same transaction. Returns {success, hold_id, status (open, captured, released, expired), tokens_reserved, tokens_captured, tokens_released, tokens_deducted, tokens_remaining_to_deduct (shortfall or uncovered), deducted_from, transaction_id, overage_transaction_id, usage_id, cost_estimate (cents), settled_at, tokens_remaining, replayed}. Short of tokens: success false, status open, nothing changed. Errors: invalid_amount, invalid_usage, invalid_metadata, hold_not_found, user_not_found, account_frozen (beyond the hold), capture_exceeds_hold, forbidden, busy.';
