/*
 * Spends tokens from a user's grants, oldest first, all or nothing.
 * Caller: the user for himself, an admin, service_role.   Locks: the account.
 * Returns {success, tokens_deducted, tokens_remaining_to_deduct, deducted_from: [{grant_id,
 * grant_type, granted_at, deducted}], transaction_id, tokens_remaining, replayed}. Short of
 * tokens, or under a cap that allows less: success false, tokens_remaining_to_deduct the shortfall,
 * nothing changed, no error; the cap is said in capped_by {scope, window, limit, used, resets_at}.
 * A member of a team spends from his payer's account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_amount, invalid_action_type,
 * invalid_idempotency_key, invalid_metadata, idempotency_key_reused, busy   (docs/errors.md)
 * Keeps: I1 no overspend, I4 allocations = deduction, I5 one key one effect, I7, I8 FIFO exactly.
 */
-- Security definer: clients and the server may not write the tables themselves.
create or replace function private.deduct_tokens_with_fifo(
  p_user_id uuid,
  p_tokens_to_deduct bigint,
  p_action_type text,
  p_idempotency_key text,
  p_metadata jsonb
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_actor record;
  v_is_sound boolean;
  v_receipt jsonb;
  v_entry public.token_transactions;
  v_spent record;
begin
  v_actor := private.authorize(p_user_id, p_self_may => true);
  v_is_sound := private.check_tokens('p_tokens_to_deduct', p_tokens_to_deduct)
    and private.check_action_type(p_action_type)
    and private.check_request(p_idempotency_key, null, p_metadata);

  v_receipt := private.spend_at_once(
    p_user_id, p_tokens_to_deduct, p_action_type, v_actor.actor_role, v_actor.actor_id,
    p_idempotency_key, p_metadata);
  if v_receipt is not null then
    return v_receipt;
  end if;

  v_entry.actor_role := v_actor.actor_role;
  v_entry.actor_id := v_actor.actor_id;
  v_entry.user_id := p_user_id;
  v_entry.tokens := -p_tokens_to_deduct;
  v_entry.action_type := p_action_type;
  v_entry.reason := p_action_type;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := private.deduction_request(p_tokens_to_deduct, p_action_type);
  v_entry.metadata := coalesce(p_metadata, '{}');
  v_spent := private.spend(v_entry);
  return private.deduction_receipt(
    p_tokens_to_deduct, (v_spent.transaction).id, private.allocations(v_spent.transaction),
    v_spent.shortfall, v_spent.tokens_remaining, v_spent.replayed, v_spent.capped_by);
end
$$;
comment on function private.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb) is 'See public.deduct_tokens_with_fifo.';
revoke all on function private.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb) from public, anon, authenticated, service_role;
grant execute on function private.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb) to authenticated, service_role;

create or replace function public.deduct_tokens_with_fifo(
  p_user_id uuid,
  p_tokens_to_deduct bigint,
  p_action_type text default 'deduction',
  p_idempotency_key text default null,
  p_metadata jsonb default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.deduct_tokens_with_fifo(
    p_user_id, p_tokens_to_deduct, p_action_type, p_idempotency_key, p_metadata);
end
$$;
comment on function public.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb) is
  'Spends tokens from the user''s grants, oldest first, all or nothing. For the user himself, an admin, or the server. p_tokens_to_deduct 1 to 10^12; p_action_type what for (chat_conversation, …); p_idempotency_key makes a retry safe for ever; p_metadata an object of at most 8 KiB. Returns {success, tokens_deducted, tokens_remaining_to_deduct, deducted_from: [{grant_id, grant_type, granted_at, deducted}], transaction_id, tokens_remaining, replayed}. Short of tokens: success false, tokens_remaining_to_deduct the shortfall, nothing changed; and so under a spend cap, which is then said in capped_by {scope, window, limit, used, resets_at}. A member of a team spends from his payer''s account. Errors: invalid_amount, invalid_action_type, invalid_idempotency_key, invalid_metadata, idempotency_key_reused, forbidden, busy.';
revoke all on function public.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb) to authenticated, service_role;
