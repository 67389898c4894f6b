/*
 * Gives back what a dispute or a refund had taken, when it was won or has failed: the debt first, then the tokens, to the
 * grants that they came from, last taken first; what a later grant repaid goes to the payment's
 * own grant. Into a grant that has run out meanwhile it expires at once, in the ledger.
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
  v_left bigint;
  v_part record;
begin
  v_account := tokenbook.lock_account(p_entry.user_id); -- @won-disputes-give-back
  v_now := clock_timestamp();

  p_entry.debt_change := -least(p_tokens, v_account.tokens_owed);
  p_entry.tokens := p_tokens + p_entry.debt_change;
  p_entry.grant_ids := '{}';
  p_entry.grant_tokens := '{}';
  v_left := p_entry.tokens;
  for v_part in
    select b.id, taken.tokens, b.payment_id is not distinct from p_entry.payment_id as is_own
      from public.token_balances b
      left join (
        select a.grant_id, sum(case t.entry_type when 'clawback' then a.tokens else -a.tokens end)::bigint as tokens
          from public.token_transactions t
         cross join lateral unnest(t.grant_ids, t.grant_tokens) as a (grant_id, tokens)
         where t.user_id = p_entry.user_id and t.payment_id = p_entry.payment_id
           and t.entry_type in ('clawback', 'restoration')
         group by a.grant_id) taken on taken.grant_id = b.id
     where b.user_id = p_entry.user_id
       and (taken.tokens > 0 or b.payment_id = p_entry.payment_id)
     order by is_own, tokenbook.burn_key(b.priority, b.granted_at, b.expires_at, b.id, tokenbook.is_expiring_first_at(v_now)) desc
  loop
    -- the payment's own grant comes last and takes what the others did not give
    continue when v_left = 0;
    p_entry.grant_ids := p_entry.grant_ids || v_part.id;
    p_entry.grant_tokens := p_entry.grant_tokens || case when v_part.is_own then v_left else least(v_left, v_part.tokens) end;
    v_left := v_left - case when v_part.is_own then v_left else least(v_left, v_part.tokens) end;
  end loop;
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
