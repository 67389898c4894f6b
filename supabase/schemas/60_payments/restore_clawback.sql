/*
 * Gives back what a dispute or a refund had taken, when it was won or has failed: the debt first, then the tokens, to the
 * grants that they came from, last taken first: those that it was taken from, then those that have repaid the debt, and
 * what neither gave to the payment's own grant. Into a grant that has run out meanwhile it expires at once, in the ledger.
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
  v_nth integer;
begin
  v_account := tokenbook.lock_account(p_entry.user_id); -- @won-disputes-give-back
  v_now := clock_timestamp();

  p_entry.debt_change := -least(p_tokens, v_account.tokens_owed);
  p_entry.tokens := p_tokens + p_entry.debt_change;
  p_entry.grant_ids := '{}';
  p_entry.grant_tokens := '{}';
  v_left := p_entry.tokens;
  for v_part in
    with entries as materialized (
      select t.id, t.entry_type, t.payment_id, a.grant_id, a.tokens
        from public.token_transactions t
       cross join lateral unnest(t.grant_ids, t.grant_tokens) as a (grant_id, tokens)
       where t.user_id = p_entry.user_id and t.entry_type in ('clawback', 'restoration', 'debt_repayment')
    ), taken as (
      -- by the loss of a payment, and not given back; below 0: what was given back had been taken elsewhere
      select e.payment_id, e.grant_id, sum(case e.entry_type when 'clawback' then e.tokens else -e.tokens end)::bigint as tokens
        from entries e
       where e.entry_type in ('clawback', 'restoration') and e.payment_id is not null
       group by e.payment_id, e.grant_id
    ), repaid as (
      -- from what came in later, and not given back
      select e.grant_id, max(e.id) as newest,
             sum(e.tokens)::bigint - coalesce((
               select sum(-t.tokens) from taken t where t.grant_id = e.grant_id and t.tokens < 0), 0)::bigint as tokens
        from entries e
       where e.entry_type = 'debt_repayment'
       group by e.grant_id
    ), places as (
      select 1 as place, t.grant_id, t.tokens, null::bigint as newest
        from taken t where t.payment_id = p_entry.payment_id and t.tokens > 0
      union all
      select 2, r.grant_id, r.tokens, r.newest from repaid r where r.tokens > 0 -- @repaid-from-goes-back
      union all
      -- the payment's own grant takes what the others did not give
      select 3, b.id, v_left, null
        from public.token_balances b where b.user_id = p_entry.user_id and b.payment_id = p_entry.payment_id
    )
    select b.id, p.tokens
      from places p
      join public.token_balances b on b.user_id = p_entry.user_id and b.id = p.grant_id
     order by p.place, b.payment_id is not distinct from p_entry.payment_id, p.newest desc,
              tokenbook.burn_key(b.priority, b.granted_at, b.expires_at, b.id, tokenbook.is_expiring_first_at(v_now)) desc
  loop
    exit when v_left = 0;
    v_nth := array_position(p_entry.grant_ids, v_part.id);
    if v_nth is null then
      p_entry.grant_ids := p_entry.grant_ids || v_part.id;
      p_entry.grant_tokens := p_entry.grant_tokens || least(v_left, v_part.tokens);
    else
      p_entry.grant_tokens[v_nth] := p_entry.grant_tokens[v_nth] + least(v_left, v_part.tokens);
    end if;
    v_left := v_left - least(v_left, v_part.tokens);
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
