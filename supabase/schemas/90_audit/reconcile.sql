/*
 * Compares the two records of a user: the books (account and ledger) and the audit trail, and for what lies
 * before the books opened the old grants and their recorded use. One snapshot; changes nothing.
 *
 * It starts from the last moment at which the balance was taken as right: nothing, when the books began
 * empty; else the opening balance, which is checked itself; else the last repair (tokenbook.last_repair). A
 * repair is somebody's decision after having looked: what was before it is settled, or each repair would be a
 * discrepancy of its own.
 * Caller: internal.   Returns the answer of public.reconcile_user_token_balance.
 */
create function tokenbook.reconcile(p_user_id uuid)
returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := clock_timestamp();
  v_account public.token_accounts;
  v_opening public.token_transactions;
  v_base public.token_transactions;
  v_due bigint;
  v_ledger record;
  v_old record;
  v_old_grants record;
  v_corrected record;
  v_difference record;
  v_parts jsonb := '[]';
  v_all record;
  v_repaired bigint := 0; -- in part, by adjustments
  v_live bigint;
  v_off bigint := 0;
  v_remaining bigint;
  v_expected bigint;
  v_used bigint;
  v_cost numeric;
  v_counters jsonb;
  v_unrecorded bigint;
  v_findings jsonb := '[]';
  v_formula jsonb;
begin
  select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  select t.* into v_opening
    from public.token_transactions t
   where t.user_id = p_user_id and t.id = 1 and t.entry_type = 'opening_balance';
  v_base := tokenbook.last_repair(p_user_id, v_now);
  select coalesce(sum(b.tokens_remaining), 0)::bigint into v_due
    from public.token_balances b
   where b.user_id = p_user_id and b.is_open and b.expires_at <= v_now;
  v_remaining := coalesce(v_account.tokens_remaining, 0) - v_due;

  -- token by token; and, with each of the findings or alone, the lines of the sum that they belong to
  for v_difference in
    with differences as materialized (
      select d.*, d.line = 'none' as is_harmless, case when d.line = 'none' then d.cause end as harmless
        from tokenbook.token_differences(p_user_id, v_opening, v_base) d
    ), corrected as (
      select coalesce(sum(d.tokens) filter (where d.line = 'used'), 0)::bigint as all_used,
             coalesce(sum(d.tokens) filter (where d.line = 'used' and not d.is_settled), 0)::bigint as used,
             coalesce(-sum(d.tokens) filter (where d.line = 'admin_granted' and not d.is_settled), 0)::bigint as admin_granted,
             coalesce(sum(d.tokens) filter (where d.line = 'admin_deducted' and not d.is_settled), 0)::bigint as admin_deducted,
             coalesce(sum(d.cost), 0) as cost
        from differences d
    ), findings as (
      select d.scenario, d.is_harmless, d.harmless, sum(d.size)::bigint as size, count(*) as rows, min(d.created_at) as since,
             coalesce(jsonb_agg(jsonb_build_object(
               'at', greatest(d.created_at, v_opening.created_at), 'tokens', d.tokens, 'grant_id', d.grant_id))
               filter (where d.tokens <> 0), '[]') as parts,
             (array_agg(d.cause order by d.size desc, d.cause))[1] as cause,
             (array_agg(d.usage_id order by d.created_at) filter (where d.usage_id is not null))[1] as first_usage_id,
             min(d.transaction_id) as first_transaction_id
        from differences d
       where not d.is_settled and d.line <> 'cost'
       group by d.scenario, d.is_harmless, d.harmless
    )
    select c.*, f.* from corrected c left join findings f on true
     order by f.scenario, f.is_harmless, f.harmless
  loop
    v_corrected := v_difference;
    continue when v_difference.scenario is null;
    -- with those before it: what one grant could have paid for, it could not have paid for twice
    v_parts := v_parts || v_difference.parts;
    v_live := 0;
    if v_difference.parts <> '[]' then
      v_all := tokenbook.live_difference(p_user_id, v_parts, v_now);
      v_live := v_all.off - v_off;
      v_off := v_all.off;
      v_repaired := v_all.repaired;
    end if;
    if v_live <> 0 or v_difference.is_harmless then
      v_findings := v_findings || tokenbook.describe_finding(
        v_difference.scenario, v_difference.cause,
        case when v_difference.is_harmless then v_difference.size else abs(v_live) end,
        v_live, v_difference.since,
        jsonb_strip_nulls(jsonb_build_object('rows', v_difference.rows, 'first_usage_id', v_difference.first_usage_id,
                                             'first_transaction_id', v_difference.first_transaction_id)));
    end if;
  end loop;

  -- an account that its own ledger does not agree with
  select coalesce(sum(t.tokens), 0)::bigint as tokens,
         coalesce(sum(t.debt_change - t.tokens) filter (where t.entry_type in ('deduction', 'refund') and t.action_type <> 'admin_deduct'), 0)::bigint as used
    into v_ledger
    from public.token_transactions t
   where t.user_id = p_user_id;
  v_live := coalesce(v_account.tokens_remaining + v_account.tokens_reserved, 0) - v_ledger.tokens;
  if v_live <> 0 then
    v_off := v_off + v_live;
    v_findings := v_findings || tokenbook.describe_finding(
      case when v_live > 0 then 'balance_higher' else 'balance_lower' end, 'account_differs_from_ledger',
      abs(v_live), v_live, null, jsonb_build_object('ledger', v_ledger.tokens));
  end if;
  v_expected := v_remaining - v_off;
  if least(v_expected, v_remaining) < 0 then
    v_findings := v_findings || tokenbook.describe_finding(
      'negative_balance', case when v_remaining < 0 then 'balance_below_zero' else 'used_more_than_was_granted' end,
      -least(v_expected, v_remaining), 0, null, '{}');
  end if;

  -- lifetime use and its cost
  select coalesce(sum(u.tokens) filter (where u.is_operation), 0)::bigint as used,
         coalesce(sum(u.tokens) filter (where not u.is_operation), 0)::bigint as deducted,
         coalesce(sum(u.cost) filter (where u.is_operation), 0) as cost,
         count(*) filter (where u.is_operation) as rows
    into v_old
    from tokenbook.usage_before_books(p_user_id, v_opening) u;
  v_cost := v_old.cost + v_corrected.cost;
  v_used := v_old.used + v_ledger.used + v_corrected.all_used;

  select jsonb_build_object(
           'tokens_remaining', max(c.vibe_assistant_tokens_remaining), 'tokens_used', max(c.vibe_assistant_tokens_used),
           'total_cost', max(c.vibe_assistant_total_cost) * 100)
    into v_counters
    from tokenbook.archived_profile_counters c
   where c.user_id = p_user_id
  having count(*) > 0;
  select case when v_old.rows = 0 then (v_base.metadata ->> 'tokens_used')::bigint else max(c.unrecorded) end
    into v_unrecorded
    from tokenbook.counter_at_opening(p_user_id, v_opening) c;
  if v_base.entry_type = 'opening_balance' and v_unrecorded > 0 then
    v_findings := v_findings || tokenbook.describe_finding(
      'no_usage_records', 'a_counter_without_records', v_unrecorded, 0, null, coalesce(v_counters, '{}'));
  elsif abs(coalesce(v_account.total_cost, 0) - v_cost) >= 1 then
    v_findings := v_findings || jsonb_build_array(
      tokenbook.describe_finding('cost_mismatch', 'cost_differs_from_usage', 0, 0, null, '{}')
      || jsonb_build_object('cents', coalesce(v_account.total_cost, 0) - v_cost));
  end if;

  -- the sum, line by line
  select coalesce(sum(g.tokens_granted) filter (where g.is_booked), 0)::bigint as granted,
         coalesce(sum(g.tokens_granted) filter (where not g.is_booked), 0)::bigint as admin_granted
    into v_old_grants
    from tokenbook.grants_at_opening(p_user_id, v_opening) g
   where v_base.entry_type = 'opening_balance';
  select jsonb_build_object(
           'since', case when v_base.id is null then 'the beginning' when v_base.entry_type = 'opening_balance' then 'before the books'
                         else 'repair ' || v_base.id end,
           -- with what was set aside, which balance_after leaves out
           'start', case when v_base.entry_type <> 'opening_balance' then (
             select sum(b.tokens) from public.token_transactions b
              where b.user_id = p_user_id and b.id <= v_base.id) else 0 end,
           'granted', v_old_grants.granted
             + coalesce(sum(t.tokens) filter (where t.entry_type = 'grant' and t.action_type <> 'admin_grant'), 0),
           'admin_granted', v_old_grants.admin_granted + v_corrected.admin_granted
             + coalesce(sum(t.tokens) filter (where t.action_type = 'admin_grant'), 0) - greatest(v_repaired, 0),
           'tokens_used', v_corrected.used
             + case when v_base.entry_type = 'opening_balance' then v_old.used else 0 end
             + coalesce(sum(t.debt_change - t.tokens) filter (where t.entry_type in ('deduction', 'refund') and t.action_type <> 'admin_deduct'), 0),
           'admin_deducted', v_corrected.admin_deducted
             + case when v_base.entry_type = 'opening_balance' then v_old.deducted else 0 end
             - coalesce(sum(t.tokens) filter (where t.action_type = 'admin_deduct'), 0) + least(v_repaired, 0),
           -- what was used and is owed has left no grant yet; what repays it does
           'clawed_back', -coalesce(sum(t.tokens) filter (where t.entry_type in ('clawback', 'restoration', 'debt_repayment')), 0)
             - coalesce(sum(t.debt_change) filter (where t.entry_type in ('deduction', 'refund')), 0),
           'other', coalesce(sum(t.tokens) filter (
             where t.entry_type not in ('grant', 'deduction', 'refund', 'expiry', 'clawback', 'restoration', 'debt_repayment')), 0),
           'reserved', coalesce(v_account.tokens_reserved, 0))
    into v_formula
    from public.token_transactions t
   where t.user_id = p_user_id and t.id > coalesce(v_base.id, 0);
  v_formula := v_formula || jsonb_build_object('expired',
    (v_formula ->> 'start')::bigint + (v_formula ->> 'granted')::bigint + (v_formula ->> 'admin_granted')::bigint
    - (v_formula ->> 'tokens_used')::bigint - (v_formula ->> 'admin_deducted')::bigint - (v_formula ->> 'clawed_back')::bigint
    + (v_formula ->> 'other')::bigint - (v_formula ->> 'reserved')::bigint - v_expected);

  return jsonb_build_object(
    'user_id', p_user_id,
    'current_remaining', v_remaining,
    'current_used', coalesce(v_account.tokens_used, 0),
    'current_cost', coalesce(v_account.total_cost, 0),
    'calculated_used', v_used,
    'calculated_cost', v_cost,
    'expected_remaining', v_expected,
    'remaining_difference', v_off,
    'used_difference', coalesce(v_account.tokens_used, 0) - v_used,
    'cost_difference', coalesce(v_account.total_cost, 0) - v_cost,
    'since', (select min((f ->> 'since')::timestamptz) from jsonb_array_elements(v_findings) f),
    'formula', v_formula,
    'counters_before_the_books', v_counters,
    'last_transaction_id', coalesce(v_account.last_transaction_id, 0),
    'findings', v_findings);
end
$$;
comment on function tokenbook.reconcile is 'Compares a user''s books with their audit trail; the answer of public.reconcile_user_token_balance.';
