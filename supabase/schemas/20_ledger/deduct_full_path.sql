/*
 * The full path of a deduction: who asks and for what is looked at and refused by name, and tokenbook.spend_tokens
 * does what there is to do. The fast path, which needs none of that, is in
 * tokenbook.deduct_tokens_with_fifo itself; both come to the same grants, totals, ledger row and receipt.
 * Caller: tokenbook.deduct_tokens_with_fifo, which says the rest.   Locks: the account.
 */
create function tokenbook.deduct_full_path(
  p_user_id uuid,
  p_tokens bigint,
  p_action_type text,
  p_idempotency_key text,
  p_metadata jsonb
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_entry public.token_transactions;
  v_spent record;
begin
  v_actor := tokenbook.authorize(p_user_id, p_self_may => true);
  perform tokenbook.check_tokens('p_tokens_to_deduct', p_tokens);
  perform tokenbook.check_action_type(p_action_type);
  perform tokenbook.check_request(p_idempotency_key, null, p_metadata);
  if tokenbook.settle_backlog(tokenbook.paying_account(p_user_id)) then
    return tokenbook.answer_busy();
  end if;

  v_entry.actor_role := v_actor.actor_role;
  v_entry.actor_id := v_actor.actor_id;
  v_entry.user_id := p_user_id;
  v_entry.tokens := -p_tokens;
  v_entry.action_type := p_action_type;
  v_entry.reason := p_action_type;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := tokenbook.deduction_request(p_tokens, p_action_type);
  v_entry.metadata := coalesce(p_metadata, '{}');
  v_spent := tokenbook.spend_tokens(v_entry);
  return tokenbook.deduction_receipt(
    p_tokens, (v_spent.transaction).id, tokenbook.describe_allocations(v_spent.transaction),
    v_spent.shortfall, v_spent.tokens_remaining, v_spent.replayed, v_spent.capped_by);
end
$$;
comment on function tokenbook.deduct_full_path is
  'The full path of a deduction: checks who asks and for what, spends, and answers. The caller is tokenbook.deduct_tokens_with_fifo.';
