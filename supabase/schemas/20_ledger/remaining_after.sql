/*
 * What an account had when tokens had come in by that entry: after what they repaid at once (tokenbook.settle_incoming).
 * Caller: internal.
 */
create function tokenbook.remaining_after(p_transaction public.token_transactions)
returns bigint
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce((
    select t.balance_after from public.token_transactions t
     where t.user_id = p_transaction.user_id and t.id = p_transaction.id + 1
       and t.entry_type = 'debt_repayment' and t.created_at = p_transaction.created_at), -- @repaid-at-once
    p_transaction.balance_after);
end
$$;
comment on function tokenbook.remaining_after is
  'What an account had after an entry by which tokens came in, and what these repaid at once.';
