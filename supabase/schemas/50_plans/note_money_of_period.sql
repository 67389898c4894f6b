/*
 * Says of what a period had given before it was paid for whose money it is: of its slots, and of what was carried over.
 * Caller: tokenbook.give_what_was_bought, holding the account's lock.   Returns the first entry of the ledger that gave a
 * slot of it; NULL, none did.
 */
create function tokenbook.note_money_of_period(p_payment public.token_payments)
returns bigint
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_grant public.token_balances;
  v_ids uuid[];
  v_first_id bigint;
begin
  select b.* into v_grant
    from public.token_balances b where b.user_id = p_payment.user_id and b.payment_id = p_payment.id;
  select array_agg(t.grant_ids[1]), min(t.id) into v_ids, v_first_id
    from public.token_transactions t
   where t.user_id = v_grant.user_id and t.entry_type = 'grant' and t.action_type = 'scheduled_grant' -- as give_what_was_bought counts them
     and t.created_at >= v_grant.period_start
     and t.terms -> 'slots' ->> 'plan_type' = p_payment.to_plan and not t.terms -> 'slots' ? 'payment_id'
     and (t.terms -> 'slots' ->> 'period_start')::timestamptz = v_grant.period_start;
  update public.token_balances b
     set cost_basis_of = p_payment.id
   where b.user_id = v_grant.user_id and b.cost_basis_of is null
     and (b.id = any (v_ids) or b.rolled_over_from = v_grant.id);
  return v_first_id;
end
$$;
comment on function tokenbook.note_money_of_period is
  'Says of what a period had given before it was paid for whose money it is. Returns the first entry that gave a slot of it.';
