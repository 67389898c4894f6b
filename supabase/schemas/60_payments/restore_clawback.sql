/*
 * Gives back what a dispute or a refund had taken, when it was won or has failed: the debt first, then the tokens, to the
 * grants that they came from (tokenbook.grants_to_restore). Into a grant that has run out meanwhile it expires at once, in the ledger.
 * p_entry is the transaction to be: user_id, payment_id, reason, actor, metadata.
 * Locks: the account.   Keeps: I1 to I4, I9.
 */
create function tokenbook.restore_clawback(p_entry public.token_transactions, p_tokens bigint)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account public.token_accounts;
  v_now timestamptz;
begin
  v_account := tokenbook.lock_account(p_entry.user_id); -- @won-disputes-give-back
  v_now := clock_timestamp();

  p_entry.debt_change := -least(p_tokens, v_account.tokens_owed);
  p_entry.tokens := p_tokens + p_entry.debt_change;
  select g.grant_ids, g.grant_tokens into p_entry.grant_ids, p_entry.grant_tokens
    from tokenbook.grants_to_restore(p_entry.user_id, p_entry.payment_id, p_entry.tokens, v_now) as g;
  select back.grant_ids, back.grant_tokens into p_entry.grant_ids, p_entry.grant_tokens
    from tokenbook.return_tokens(p_entry.user_id, p_entry.grant_ids, p_entry.grant_tokens, v_now) as back;

  p_entry.entry_type := 'restoration';
  p_entry.action_type := 'restoration';
  p_entry.created_at := v_now;
  perform tokenbook.record_transaction(p_entry);
  perform tokenbook.move_plan_limit(p_entry.user_id, p_tokens);
  perform tokenbook.settle_incoming(p_entry.user_id, v_now);
end
$$;
comment on function tokenbook.restore_clawback is
  'Gives clawed-back tokens of a payment back: debt first, then the grants they came from.';
