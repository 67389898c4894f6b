/*
 * What follows when tokens have come in and their entry is booked: what came back too late expires
 * at once, in the ledger; what is owed is repaid first; the mark is no lower than the balance.
 * Caller: internal, holding the account's lock.   Keeps: I2, I3, I4, I7, I9.
 */
create or replace function private.settle_incoming(p_user_id uuid, p_now timestamptz)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_account public.token_accounts;
begin
  select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  if v_account.next_due_at <= p_now then
    perform private.book_expiries(array[p_user_id], p_now);
  end if;
  if v_account.tokens_owed > 0 then
    perform private.repay_debt(p_user_id, p_now);
  end if;
  perform private.move_mark(p_user_id, 0);
end
$$;
comment on function private.settle_incoming(uuid, timestamptz) is
  'After tokens have come in: expires what came too late, repays what is owed, lifts the mark to the balance.';
revoke all on function private.settle_incoming(uuid, timestamptz) from public, anon, authenticated, service_role;
