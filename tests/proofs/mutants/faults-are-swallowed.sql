-- Goes on when the ledger could not be written, so that the caller gets an answer.
select pg_temp.mutate('tokenbook.deduct_tokens_with_fifo', $$    insert into public.token_transactions
      (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason,
       actor_role, actor_id, idempotency_key, request, metadata, created_at)
    values
      (p_user_id, v_id, 'deduction', p_action_type, -p_tokens_to_deduct, v_left,
       array[v_grant_id], array[p_tokens_to_deduct], p_action_type, v_actor_role, v_actor_id, p_idempotency_key,
       v_request, coalesce(p_metadata, '{}'), v_now);$$, $$    begin
    insert into public.token_transactions
      (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason,
       actor_role, actor_id, idempotency_key, request, metadata, created_at)
    values
      (p_user_id, v_id, 'deduction', p_action_type, -p_tokens_to_deduct, v_left,
       array[v_grant_id], array[p_tokens_to_deduct], p_action_type, v_actor_role, v_actor_id, p_idempotency_key,
       v_request, coalesce(p_metadata, '{}'), v_now);
    exception when others then
      raise notice 'books not written: %', sqlerrm;
    end;$$);
