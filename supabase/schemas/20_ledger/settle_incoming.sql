/*
 * What follows when tokens have come in and their entry is recorded: what came back too late expires
 * at once, in the ledger, a portion of it (the rest stays due, and the next calls book it); what is owed is repaid first,
 * once nothing is due any more (tokenbook.record_expiries does both); the plan limit is no lower than the balance.
 * Caller: internal, holding the account's lock.   Returns what the account has then.   Keeps: I2, I3, I4, I7, I9.
 */
create function tokenbook.settle_incoming(p_user_id uuid, p_now timestamptz)
returns bigint
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_is_due boolean;
  v_owes boolean;
  v_is_limited boolean; -- by a plan limit that what came in may lift
  v_remaining bigint;
begin
  select a.next_due_at <= p_now, a.tokens_owed > 0, a.tokens_remaining, a.tokens_remaining > (
           select s.tokens_limit from tokenbook.subscriptions s where s.user_id = p_user_id)
    into v_is_due, v_owes, v_remaining, v_is_limited
    from public.token_accounts a
   where a.user_id = p_user_id;
  if v_is_due then
    perform tokenbook.record_expiries(array[p_user_id], p_now, p_in_portions => true); -- @late-returns-in-portions
  elsif v_owes then
    perform tokenbook.repay_debt(p_user_id, p_now);
  end if;
  if v_is_due or v_owes then
    select a.tokens_remaining into v_remaining from public.token_accounts a where a.user_id = p_user_id;
  end if;
  if v_is_limited then
    perform tokenbook.move_plan_limit(p_user_id, 0);
  end if;
  return v_remaining;
end
$$;
comment on function tokenbook.settle_incoming is
  'After tokens have come in: expires what came too late, repays what is owed, lifts the plan limit to the balance. Returns what the account has then.';
