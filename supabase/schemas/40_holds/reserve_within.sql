/*
 * Sets tokens aside for one call of a task, out of the hold that is the task's budget: a child hold. The grants gave them
 * when the parent was made, so nothing about the account changes: an entry of 0 tokens, hold_split, says which of the
 * parent's tokens they are. tokenbook.reserve_tokens has checked who asks and for what.
 *
 *   lock     the account, with what is due on it booked; the parent
 *   replay   what the key has done before
 *   decide   whether the parent may pass on, and what of its rest pays for this
 *   act      the parent's tokens are the child's
 *   record   the entry and the child
 *
 * A member's parent is on the account that it was taken from. From a frozen account nothing is passed on.
 * Caller: internal.   Locks: the account.   Returns what tokenbook.reserve_tokens does, and budget.
 * Errors: busy, user_not_found, hold_not_found, forbidden, idempotency_key_reused, parent_hold_ended, parent_hold_short,
 * account_frozen, too_many_holds.   Keeps: I1, I5, I7, I8, I10, I11.
 */
create function tokenbook.reserve_within(
  p_user_id uuid,
  p_parent_id uuid,
  p_tokens bigint,
  p_ttl_seconds integer,
  p_action_type text,
  p_actor_role text,
  p_actor_id uuid,
  p_idempotency_key text,
  p_metadata jsonb,
  p_model_used text
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_locked record;
  v_parent public.token_holds;
  v_now timestamptz;
  v_account public.token_accounts;
  v_entry public.token_transactions;
  v_was public.token_transactions;
  v_taken record;
  v_status text := 'open';
  v_expires_at timestamptz;
begin
  -- lock
  v_locked := tokenbook.lock_hold(p_user_id, p_parent_id, p_actor_role); -- @splits-lock-first
  if v_locked.is_behind then
    return tokenbook.answer_busy();
  end if;
  v_parent := v_locked.hold;
  v_now := v_locked.locked_at;

  -- replay
  v_entry.user_id := v_parent.user_id;
  v_entry.member_id := v_parent.member_id;
  v_entry.actor_role := p_actor_role;
  v_entry.actor_id := p_actor_id;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.metadata := p_metadata;
  if p_idempotency_key is not null then
    v_entry.request := jsonb_build_object(
      'operation', 'reserve', 'tokens', p_tokens, 'ttl_seconds', p_ttl_seconds, 'action_type', p_action_type,
      'parent_hold', p_parent_id);
    v_was := tokenbook.find_replay(v_entry);
  end if;

  if v_was.id is not null then
    v_entry := v_was;
    select case when h.status = 'open' and h.expires_at <= v_now then 'expired' else h.status end, h.expires_at
      into v_status, v_expires_at
      from public.token_holds h
     where h.user_id = v_was.user_id and h.id = v_was.hold_id;
  else
    -- decide
    if v_parent.status <> 'open' or v_parent.expires_at <= v_now or v_parent.parent_id is not null then
      perform tokenbook.refuse('parent_hold_ended', jsonb_build_object('status', case
        when v_parent.parent_id is not null then 'child' when v_parent.status = 'open' then 'expired' else v_parent.status end));
    end if;
    select a.* into v_account from public.token_accounts a where a.user_id = v_parent.user_id;
    if tokenbook.is_frozen(v_account, v_parent.member_id) then -- @frozen-pass-nothing-on
      perform tokenbook.refuse('account_frozen', '{}');
    end if;
    perform tokenbook.check_open_holds(v_parent.user_id, v_parent.member_id, v_now);

    -- act
    v_taken := tokenbook.take_from_hold(v_parent.user_id, v_parent.id, p_tokens, p_action_type, p_model_used);
    if v_taken.tokens is null then
      return tokenbook.answer_busy(); -- somebody has locked it by itself, in the SQL editor
    elsif v_taken.tokens < p_tokens then
      perform tokenbook.refuse('parent_hold_short', jsonb_build_object(
        'budget', v_parent.tokens + v_parent.tokens_passed, 'passed', v_parent.tokens_passed, 'left', v_parent.tokens,
        'payable', v_taken.payable, 'needed', p_tokens));
    end if;

    -- record
    v_expires_at := v_now + p_ttl_seconds * interval '1 second';
    v_entry.reason := p_action_type;
    v_entry.hold_id := gen_random_uuid();
    v_entry.created_at := v_now;
    v_entry := tokenbook.as_move(
      v_entry, 'hold_split', v_parent.id, v_entry.hold_id, v_taken.grant_ids, v_taken.grant_tokens, p_model_used);
    v_entry := tokenbook.record_transaction(v_entry, p_due_at => v_expires_at); -- @splits-spend-nothing
    insert into public.token_holds
      (user_id, id, tokens, grant_ids, grant_tokens, expires_at, action_type, actor_role,
       transaction_id, member_id, parent_id, metadata, created_at)
    values
      (v_entry.user_id, v_entry.hold_id, p_tokens, v_taken.grant_ids, v_taken.grant_tokens, v_expires_at,
       p_action_type, p_actor_role, v_entry.id, v_entry.member_id, v_parent.id, p_metadata, v_now);
  end if;

  return jsonb_build_object(
    'success', true,
    'hold_id', v_entry.hold_id,
    'status', v_status,
    'tokens_reserved', p_tokens,
    'tokens_remaining_to_deduct', 0,
    'reserved_from', tokenbook.describe_allocations(
      v_entry.user_id,
      array(select jsonb_array_elements_text(v_entry.terms #> '{move,grant_ids}')::uuid),
      array(select jsonb_array_elements_text(v_entry.terms #> '{move,grant_tokens}')::bigint)),
    'expires_at', v_expires_at,
    'transaction_id', v_entry.id,
    'tokens_remaining', v_entry.balance_after,
    'replayed', v_was.id is not null) || tokenbook.budget_receipt(v_parent.user_id, v_parent.id);
end
$$;
comment on function tokenbook.reserve_within is
  'Sets tokens aside for one call out of the hold that is the budget of its task: a child hold. The receipt of reserve_tokens, with budget.';
