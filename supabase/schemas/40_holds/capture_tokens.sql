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
 * or joined one; success false, the hold stays open); partial takes of the difference what there is to take and records the
 * rest as uncovered; overdraft takes what there is and lets the account owe the rest, up to its limit
 * (set_token_overdraft, or overdraft_tokens of its plan), and past that is as deduct; cap takes no more than was held and records the rest as uncovered; reject refuses.
 * A source grant that ran out meanwhile is honoured; what goes back into it expires at once.
 * Caller: the user for holds they made, an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_amount, invalid_usage,
 * invalid_metadata, user_not_found, hold_not_found, account_frozen, capture_exceeds_hold, too_many_grants, busy.
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
  v_actor_role text := 'service';
  v_actor_id uuid;
  v_usage public.token_usage;
begin
  -- validate
  if not tokenbook.is_plain_server_call(p_user_id) then
    select w.actor_role, w.actor_id into v_actor_role, v_actor_id
      from tokenbook.authorize(p_user_id, p_self_may => true) w;
  end if;
  if p_tokens not between 0 and 1000000000000 then
    perform tokenbook.refuse('invalid_amount', '{"field": "p_tokens", "rule": "a whole number from 0 to 1000000000000"}');
  end if;
  if p_over_capture is null or p_over_capture not in ('deduct', 'partial', 'overdraft', 'cap', 'reject') then
    perform tokenbook.refuse('invalid_usage', '{"field": "p_over_capture", "rule": "deduct, partial, overdraft, cap or reject"}');
  end if;
  if not p_success or num_nonnulls(p_model_used, p_input_tokens, p_output_tokens, p_images, p_seconds, p_error_message,
    p_cached_tokens, p_reasoning_tokens) > 0
  then
    v_usage.model_used := p_model_used;
    v_usage.input_tokens := p_input_tokens;
    v_usage.output_tokens := p_output_tokens;
    v_usage.success := coalesce(p_success, true);
    v_usage.error_message := p_error_message;
    v_usage.cached_tokens := p_cached_tokens;
    v_usage.reasoning_tokens := p_reasoning_tokens;
    v_usage.images := p_images;
    v_usage.seconds := p_seconds;
    perform tokenbook.check_usage(v_usage);
  end if;
  if p_metadata is not null then
    perform tokenbook.check_request(null, null, p_metadata);
  end if;

  -- lock, replay, decide, act, record
  return tokenbook.settle_hold(
    p_user_id, p_hold_id, 'captured', v_actor_role, v_actor_id, p_tokens, p_over_capture, v_usage, coalesce(p_metadata, '{}'));
end
$$;
comment on function tokenbook.capture_tokens is
  'Pays for what was really used out of a hold and gives the rest back; once, and a second time answers what happened the first time. For the user (holds that they made), an admin, or the server. p_tokens what to pay, left out: what the usage fields count for, else all of it; nothing when p_success is false; p_over_capture when that is more than was held: deduct (the difference as an ordinary deduction, all or nothing), partial (of the difference what there is, of a frozen account nothing; the rest is recorded as uncovered), overdraft (what there is, and the account owes the rest, tokens_overdrawn, within its limit: set_token_overdraft, or overdraft_tokens of its plan; past that as deduct), cap (none of it) or reject; the other arguments as of track_token_usage, and with any of them the usage is recorded in the same transaction. Returns {success, hold_id, status (open, captured, released, expired), tokens_reserved, tokens_captured, tokens_released, tokens_deducted, tokens_remaining_to_deduct (shortfall or uncovered), deducted_from, transaction_id, overage_transaction_id, usage_id, cost_estimate (cents), settled_at, tokens_remaining, replayed}, and where they say something tokens_overdrawn, capped_by and tokens_restricted, as track_token_usage, and budget, as reserve_tokens. Short of tokens: success false, status open, nothing changed. Errors: invalid_amount, invalid_usage, invalid_metadata, hold_not_found, user_not_found, account_frozen (beyond the hold, with deduct or overdraft), capture_exceeds_hold, too_many_grants (beyond the hold, with deduct or overdraft), forbidden, busy.';
