/*
 * Lets what has come in repay what the account owes, as far as it goes, and from as many grants as one
 * entry may name; what could be repaid still makes the account due at once. The caller holds the lock, and
 * nothing is due.
 * Caller: internal.   Keeps: I2, I3, I4, I11.
 */
create function tokenbook.repay_debt(p_user_id uuid, p_now timestamptz)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_entry public.token_transactions;
  v_wanted bigint;
begin
  select least(a.tokens_owed, a.tokens_remaining) into v_wanted
    from public.token_accounts a where a.user_id = p_user_id;
  if v_wanted = 0 then
    return;
  end if;
  select taken.grant_ids, taken.grant_tokens, -taken.tokens into v_entry.grant_ids, v_entry.grant_tokens, v_entry.tokens
    from tokenbook.take_from_grants(p_user_id, v_wanted, p_now, p_partial => true) as taken;

  v_entry.user_id := p_user_id;
  v_entry.entry_type := 'debt_repayment';
  v_entry.action_type := 'debt_repayment';
  v_entry.debt_change := v_entry.tokens;
  v_entry.reason := 'debt is repaid first';
  v_entry.actor_role := 'system';
  v_entry.metadata := '{}';
  v_entry.created_at := p_now;
  perform tokenbook.record_transaction(v_entry);
  if v_wanted > -v_entry.tokens then
    perform tokenbook.bring_due_forward(p_user_id, p_now);
  end if;
end
$$;
comment on function tokenbook.repay_debt is
  'Takes what the account owes from what it has, as one debt_repayment; the caller holds the account''s lock.';
