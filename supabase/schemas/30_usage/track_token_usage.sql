/*
 * Records one AI operation and deducts for it, in one transaction: the token_usage row, the ledger
 * entry and the account's tokens and cost, or nothing.
 *
 * What it counts for: p_tokens_used when given; else what the model's rate makes of what was used, or input + output,
 * within what token_action_costs asks for the action. Cached tokens are part of the input and reasoning tokens part of the output.
 * A failed operation (p_success false) is recorded and deducts nothing.
 * Short of tokens: with p_on_shortage 'reject' success is false and nothing is recorded; with
 * 'partial' what is there is taken and the rest is recorded as uncovered; with 'overdraft' the account owes the rest
 * (tokens_overdrawn), up to what set_token_overdraft or its plan allows, and past that it is as with 'reject'. Under a
 * spend cap it is the same: what the cap allows counts as what is there, and the cap is said in capped_by.
 * From a frozen account: account_frozen, and with 'partial' all of it is recorded as uncovered;
 * what costs nothing is recorded as ever.
 * A member's operation is recorded on their payer's account, whose tokens it takes, and names the member.
 * Caller: the user for themself (p_user_id left out), an admin, service_role.   Locks: the account.
 * Returns {success, usage_id, transaction_id, tokens_used, tokens_deducted,
 * tokens_remaining_to_deduct, cost_estimate, deducted_from, tokens_remaining, replayed}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_action_type, invalid_usage, unknown_model,
 * invalid_idempotency_key, invalid_metadata, idempotency_key_reused, user_not_found, account_frozen, too_many_grants, busy.
 * Keeps: I1 to I5, I7, I8, I10.
 */
-- Security definer: clients and the server may not write the tables themselves.
create function tokenbook.track_token_usage(
  p_user_id uuid default tokenbook.caller_id(),
  p_action_type text default null,
  p_model_used text default null,
  p_input_tokens bigint default null,
  p_output_tokens bigint default null,
  p_tokens_used bigint default null,
  p_success boolean default true,
  p_error_message text default null,
  p_on_shortage text default 'reject',
  p_idempotency_key text default null,
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
  v_asked public.token_usage; -- where all of it has to be looked at
  v_request jsonb;
  v_uncovered bigint;
  v_success constant boolean := coalesce(p_success, true);
  v_measured record;
  v_tokens_used bigint;
  v_cost numeric;
  v_known public.token_transactions;
  v_spent record;
  v_receipt jsonb;
begin
  -- validate: what is plainly right is let through at once; what is not, is refused by name
  if not tokenbook.is_plain_server_call(p_user_id) then
    select w.actor_role, w.actor_id into v_actor_role, v_actor_id
      from tokenbook.authorize(p_user_id, p_self_may => true) w;
  end if;
  if p_idempotency_key is not null or (
    octet_length(p_action_type) <= 64
    and p_action_type ~ '^[a-z][a-z0-9_]*$'
    and p_action_type <> all (tokenbook.reserved_action_types())
    and least(p_tokens_used, p_input_tokens, p_output_tokens, p_cached_tokens, p_reasoning_tokens, 0) = 0
    and greatest(p_tokens_used, p_input_tokens, p_output_tokens, 0) <= 1000000000000
    and (p_cached_tokens is null or p_cached_tokens <= p_input_tokens)
    and (p_reasoning_tokens is null or p_reasoning_tokens <= p_output_tokens)
    and (p_model_used is null or octet_length(p_model_used) <= 200 and ascii(p_model_used) between 33 and 126)
    and p_images is null and p_seconds is null and p_error_message is null
    and p_on_shortage in ('reject', 'partial', 'overdraft')) is not true
  then
    v_asked.action_type := p_action_type;
    v_asked.model_used := p_model_used;
    v_asked.input_tokens := p_input_tokens;
    v_asked.output_tokens := p_output_tokens;
    v_asked.tokens_used := p_tokens_used;
    v_asked.success := v_success;
    v_asked.error_message := p_error_message;
    v_asked.cached_tokens := p_cached_tokens;
    v_asked.reasoning_tokens := p_reasoning_tokens;
    v_asked.images := p_images;
    v_asked.seconds := p_seconds;
    perform tokenbook.check_action_type(p_action_type);
    perform tokenbook.check_usage(v_asked);
    if p_on_shortage is null or p_on_shortage not in ('reject', 'partial', 'overdraft') then
      perform tokenbook.refuse('invalid_usage', '{"field": "p_on_shortage", "rule": "reject, partial or overdraft"}');
    end if;
  end if;
  if p_idempotency_key is not null or p_metadata is not null then
    perform tokenbook.check_request(p_idempotency_key, null, p_metadata);
  end if;
  if p_idempotency_key is not null then
    v_request := jsonb_build_object('operation', 'track', 'on_shortage', p_on_shortage) || jsonb_strip_nulls(to_jsonb(v_asked));
  end if;

  v_tokens_used := p_tokens_used;
  if p_tokens_used is null or p_model_used is not null or p_input_tokens is not null or p_output_tokens is not null
    or p_images is not null or p_seconds is not null
  then
    v_measured := tokenbook.measure_usage(
      p_action_type, p_model_used, p_input_tokens, p_output_tokens, p_tokens_used, p_cached_tokens,
      p_reasoning_tokens, p_images, p_seconds, clock_timestamp());
    v_tokens_used := v_measured.tokens_used;
    v_cost := v_measured.cost_estimate;
    if v_success and v_tokens_used is null or v_measured.is_unknown then
      -- what a key has done is answered again, whatever the price list says by now
      v_known.user_id := p_user_id;
      v_known.actor_role := v_actor_role;
      v_known.idempotency_key := p_idempotency_key;
      v_known.request := v_request;
      v_known.metadata := coalesce(p_metadata, '{}');
      v_known := tokenbook.find_replay(v_known); -- @known-keys-of-uses
      if v_known.id is null and v_success and v_tokens_used is null then
        perform tokenbook.refuse('invalid_usage',
          '{"field": "p_tokens_used", "rule": "needed where neither tokens nor a cost of the action say what to deduct"}');
      elsif v_known.id is null and v_measured.is_unknown then
        perform tokenbook.meet_unknown_model(p_model_used, v_actor_role, p_may_refuse => v_success);
      end if;
    end if;
    v_tokens_used := coalesce(v_tokens_used, 0);
  end if;

  -- lock, replay, act
  v_spent := tokenbook.spend_tokens(
    p_user_id, case when v_success then v_tokens_used else 0 end, -- @failed-costs-nothing
    p_action_type, p_action_type, v_actor_role, v_actor_id, p_idempotency_key, v_request, coalesce(p_metadata, '{}'),
    p_usage_id => gen_random_uuid(), p_cost => case when v_success then coalesce(v_cost, 0) else 0 end,
    p_on_shortage => p_on_shortage, p_model_used => p_model_used);
  if v_spent.is_behind then
    return tokenbook.answer_busy();
  end if;

  -- record
  if v_spent.replayed then
    select u.tokens_used, u.tokens_uncovered, u.cost_estimate into v_tokens_used, v_uncovered, v_cost
      from public.token_usage u
     where u.user_id = v_spent.user_id and u.id = v_spent.usage_id
    union all
    select r.tokens_used, r.tokens_uncovered, r.cost_estimate
      from tokenbook.archived_usage_receipts r -- @archived-receipts-answer
     where r.user_id = v_spent.user_id and r.usage_id = v_spent.usage_id;
  elsif v_spent.id is not null then
    insert into public.token_usage
      (user_id, id, action_type, model_used, tokens_used, input_tokens, output_tokens, cost_estimate, success, error_message,
       metadata, created_at, cached_tokens, reasoning_tokens, images, seconds, tokens_uncovered, transaction_id, member_id)
    values
      (v_spent.user_id, v_spent.usage_id, p_action_type, p_model_used, v_tokens_used, p_input_tokens, p_output_tokens, v_cost,
       v_success, p_error_message, coalesce(p_metadata, '{}'), v_spent.created_at, p_cached_tokens, p_reasoning_tokens,
       p_images, p_seconds, v_spent.shortfall, v_spent.id, v_spent.member_id);
  end if;

  v_receipt := jsonb_build_object(
    'success', v_spent.id is not null,
    'usage_id', case when v_spent.id is not null then v_spent.usage_id end,
    'transaction_id', v_spent.id,
    'tokens_used', v_tokens_used,
    'tokens_deducted', v_spent.tokens,
    'tokens_remaining_to_deduct', coalesce(v_uncovered, v_spent.shortfall),
    'cost_estimate', v_cost,
    'deducted_from', v_spent.deducted_from,
    'tokens_remaining', v_spent.tokens_remaining,
    'replayed', v_spent.replayed);
  if v_spent.tokens_overdrawn > 0 then
    v_receipt := v_receipt || jsonb_build_object('tokens_overdrawn', v_spent.tokens_overdrawn);
  end if;
  if v_spent.capped_by is not null or v_spent.tokens_restricted is not null then
    v_receipt := v_receipt || tokenbook.describe_shortage(v_spent.capped_by, v_spent.tokens_restricted);
  end if;
  return v_receipt;
end
$$;
comment on function tokenbook.track_token_usage is
  'Records one AI operation and deducts for it in one transaction. For the user themself (leave p_user_id out), an admin, or the server. p_action_type what was done; p_model_used the model; p_input_tokens and p_output_tokens as the model counted them; p_tokens_used a fixed number in their place; p_cached_tokens part of the input; p_reasoning_tokens part of the output; p_images how many; p_seconds of audio; p_success false records and deducts nothing; p_error_message at most 2000 characters; p_on_shortage reject (nothing recorded, success false), partial (takes what is there, of a frozen account nothing, and records the rest as uncovered) or overdraft (takes what is there, and the account owes the rest, tokens_overdrawn, within its limit: set_token_overdraft, or overdraft_tokens of its plan; past that as reject); p_idempotency_key makes a retry safe for ever; p_metadata an object of at most 8 KiB. Returns {success, usage_id, transaction_id, tokens_used, tokens_deducted, tokens_remaining_to_deduct (shortfall or uncovered), cost_estimate (cents, NULL = unknown), deducted_from, tokens_remaining, replayed}, and tokens_overdrawn where p_on_shortage is overdraft, and, the first time, capped_by {scope, window, limit, used, resets_at} where a spend cap allowed less than was wanted, and tokens_restricted where so many of tokens_remaining are in grants that do not pay for this. Errors: invalid_action_type, invalid_usage, unknown_model, invalid_idempotency_key, invalid_metadata, idempotency_key_reused, user_not_found, account_frozen (but for partial), too_many_grants, forbidden, busy.';
