/*
 * Which grants get p_tokens back that a loss had taken or a debt was repaid with: so many each, last taken first.
 * Of a payment (p_payment_id, a dispute that was won): those that its loss was taken from, then those that have repaid
 * debts, then its own grant. Of an overdraft (none): those that have repaid debts; and those that a loss was taken from
 * whose restoration let a debt off instead of giving to them.
 * A grant that was voided comes last: its tokens were taken back, and others paid. What was given back before is left out. The caller holds the account's lock.
 * Caller: internal.
 */
create function tokenbook.grants_to_restore(
  p_user_id uuid,
  p_payment_id uuid,
  p_tokens bigint,
  p_now timestamptz,
  out grant_ids uuid[],
  out grant_tokens bigint[]
)
returns record
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_left bigint := p_tokens;
  v_part record;
  v_nth integer;
begin
  grant_ids := '{}';
  grant_tokens := '{}';
  for v_part in
    with entries as materialized (
      select t.id, t.entry_type, t.payment_id, a.grant_id, a.tokens
        from public.token_transactions t
       cross join lateral unnest(t.grant_ids, t.grant_tokens) as a (grant_id, tokens)
       where t.user_id = p_user_id and t.entry_type in ('clawback', 'restoration', 'debt_repayment')
      union all
      select t.id, t.entry_type, null, a.grant_id, a.tokens
        from public.token_transactions t
       cross join lateral unnest(
         array(select jsonb_array_elements_text(t.terms -> 'repaid' -> 'grant_ids')::uuid),
         array(select jsonb_array_elements_text(t.terms -> 'repaid' -> 'grant_tokens')::bigint)) as a (grant_id, tokens)
       where t.user_id = p_user_id and t.entry_type = 'refund' and t.terms ? 'repaid'
    ), taken as (
      -- by the loss of a payment, and not given back; below 0: what was given back had been taken elsewhere
      select e.payment_id, e.grant_id, sum(case e.entry_type when 'clawback' then e.tokens else -e.tokens end)::bigint as tokens
        from entries e
       where e.entry_type in ('clawback', 'restoration') and e.payment_id is not null
       group by e.payment_id, e.grant_id
    ), repaid as (
      -- from what came in later, and not given back
      select e.grant_id, max(e.id) filter (where e.entry_type = 'debt_repayment') as newest,
             sum(case e.entry_type when 'refund' then -e.tokens else e.tokens end)::bigint - coalesce((
               select sum(-t.tokens) from taken t where t.grant_id = e.grant_id and t.tokens < 0), 0)::bigint as tokens
        from entries e
       where e.entry_type in ('debt_repayment', 'refund')
       group by e.grant_id
    ), places as (
      select 1 as place, t.grant_id, t.tokens, null::bigint as newest
        from taken t where t.payment_id = p_payment_id and t.tokens > 0
      union all
      select 2, r.grant_id, r.tokens, r.newest
        from repaid r where p_payment_id is not null and r.tokens > 0 -- @repaid-from-goes-back
      union all
      -- the payment's own grant takes what the others did not give
      select 3, b.id, p_tokens, null
        from public.token_balances b where b.user_id = p_user_id and b.payment_id = p_payment_id
      union all
      -- whatever was taken from it, and not given back
      select 4, e.grant_id,
             sum(case when e.entry_type in ('debt_repayment', 'clawback') then e.tokens else -e.tokens end)::bigint,
             max(e.id) filter (where e.entry_type = 'debt_repayment')
        from entries e
       where p_payment_id is null and (e.payment_id is not null or e.entry_type in ('debt_repayment', 'refund'))
       group by e.grant_id
    )
    select b.id, p.tokens
      from places p
      join public.token_balances b on b.user_id = p_user_id and b.id = p.grant_id
     where p.tokens > 0
     order by p.place, p.place > 1 and b.voided_at is not null, -- @voided-come-last: what was taken back is not had
              coalesce(b.payment_id = p_payment_id, false), p.newest desc nulls last,
              tokenbook.burn_key(b.priority, b.granted_at, b.expires_at, b.id, tokenbook.is_expiring_first_at(p_now)) desc
  loop
    exit when v_left = 0;
    v_nth := array_position(grant_ids, v_part.id);
    if v_nth is null then
      grant_ids := grant_ids || v_part.id;
      grant_tokens := grant_tokens || least(v_left, v_part.tokens);
    else
      grant_tokens[v_nth] := grant_tokens[v_nth] + least(v_left, v_part.tokens);
    end if;
    v_left := v_left - least(v_left, v_part.tokens);
  end loop;
end
$$;
comment on function tokenbook.grants_to_restore is
  'Which grants get tokens back that a loss had taken or a debt was repaid with, last taken first: of a payment, or of an overdraft.';
