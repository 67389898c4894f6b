-- Goes on when the ledger could not be written, so that the caller gets an answer.
select pg_temp.mutate('private.deduct_tokens_with_fifo', '  v_spent := private.spend(v_entry);', $$  begin
    v_spent := private.spend(v_entry);
  exception when others then
    update public.token_accounts a set tokens_remaining = a.tokens_remaining - p_tokens_to_deduct where a.user_id = p_user_id;
    raise notice 'books not written: %', sqlerrm;
    return jsonb_build_object('success', true);
  end;$$);
