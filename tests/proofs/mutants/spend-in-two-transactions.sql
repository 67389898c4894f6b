-- What an app does that calls the database twice: takes from the grants, and books it afterwards. In
-- between every reader, and a crash, sees the one without the other.
create procedure public.spend_in_two_transactions(p_user_id uuid, p_tokens bigint) language plpgsql as $$
declare
  v_entry public.token_transactions;
begin
  perform tokenbook.lock_account(p_user_id);
  select taken.grant_ids, taken.grant_tokens into v_entry.grant_ids, v_entry.grant_tokens
    from tokenbook.take_from_grants(p_user_id, p_tokens, clock_timestamp()) as taken;
  commit;
  perform pg_sleep(0.005); -- an app's second call comes a moment later
  v_entry.user_id := p_user_id;
  v_entry.entry_type := 'deduction';
  v_entry.action_type := 'chat_conversation';
  v_entry.tokens := -(select coalesce(sum(t), 0) from unnest(v_entry.grant_tokens) t);
  v_entry.reason := 'chat_conversation';
  v_entry.actor_role := 'service';
  v_entry.metadata := '{}';
  v_entry.created_at := clock_timestamp();
  if v_entry.tokens < 0 then
    perform tokenbook.record_transaction(v_entry);
  end if;
end
$$;
