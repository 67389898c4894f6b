-- Adds the ledger up, looks whether it is enough, and writes an entry: what two read at once they both spend.
create sequence tokenbook.entries;
select setval('tokenbook.entries', 1000000);
create or replace function tokenbook.deduct_tokens_with_fifo(
  p_user_id uuid, p_tokens_to_deduct bigint, p_action_type text default 'deduction',
  p_idempotency_key text default null, p_metadata jsonb default null
)
returns jsonb language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if (select sum(t.tokens) from public.token_transactions t where t.user_id = p_user_id) < p_tokens_to_deduct then
    return jsonb_build_object('success', false);
  end if;
  perform pg_sleep(0.005); -- what was read is a moment old, as it is under load
  insert into public.token_transactions
    (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason, actor_role)
  values
    (p_user_id, nextval('tokenbook.entries'), 'deduction', p_action_type, -p_tokens_to_deduct, 0, '{}', '{}', p_action_type, 'service');
  return jsonb_build_object('success', true);
end
$$;
