/*
 * Takes tokens of a refunded or disputed payment back: from its own grant first, then from the
 * others in burn order, at most what is left. What could not be taken becomes the account's debt,
 * repaid first by the next grant. The mark goes down by all of it. Caller holds the lock.
 * Locks: the account (again).   Keeps: I1 to I4, I9.
 */
create or replace function private.claw_back(
  p_payment public.payments,
  p_tokens bigint,
  p_reason text,
  p_actor_role text,
  p_actor_id uuid
)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_account public.token_accounts;
  v_now timestamptz;
  v_entry public.token_transactions;
  v_own public.token_balances;
  v_from_own bigint;
  v_from_others bigint;
begin
  v_account := private.lock_account(p_payment.user_id);
  v_now := clock_timestamp();
  if v_account.next_due_at <= v_now then
    perform private.book_expiries(array[p_payment.user_id], v_now);
    v_account := private.lock_account(p_payment.user_id);
  end if;

  select b.* into v_own from public.token_balances b
   where b.user_id = p_payment.user_id and b.payment_id = p_payment.id;
  v_from_own := least(p_tokens, coalesce(v_own.tokens_remaining, 0));
  update public.token_balances b
     set tokens_remaining = b.tokens_remaining - v_from_own, is_open = b.tokens_remaining > v_from_own
   where b.user_id = p_payment.user_id and b.id = v_own.id;
  v_from_others := least(p_tokens, v_account.tokens_remaining) - v_from_own;
  if v_from_others > 0 then
    select taken.grant_ids, taken.grant_tokens into v_entry.grant_ids, v_entry.grant_tokens
      from private.take_from_grants(p_payment.user_id, v_from_others, v_now) as taken;
  end if;
  if v_from_own > 0 then
    v_entry.grant_ids := v_own.id || v_entry.grant_ids;
    v_entry.grant_tokens := v_from_own || v_entry.grant_tokens;
  end if;

  v_entry.user_id := p_payment.user_id;
  v_entry.entry_type := 'clawback';
  v_entry.action_type := 'clawback';
  v_entry.tokens := -(v_from_own + v_from_others);
  v_entry.debt_change := p_tokens + v_entry.tokens;
  v_entry.grant_ids := coalesce(v_entry.grant_ids, '{}');
  v_entry.grant_tokens := coalesce(v_entry.grant_tokens, '{}');
  v_entry.reason := p_reason;
  v_entry.actor_role := p_actor_role;
  v_entry.actor_id := p_actor_id;
  v_entry.payment_id := p_payment.id;
  v_entry.metadata := '{}';
  v_entry.created_at := v_now;
  perform private.book(v_entry);
  perform private.move_mark(p_payment.user_id, -p_tokens);
end
$$;
comment on function private.claw_back(public.payments, bigint, text, text, uuid) is
  'Takes tokens of a payment back, its own grant first; what is not there becomes debt.';
revoke all on function private.claw_back(public.payments, bigint, text, text, uuid) from public, anon, authenticated, service_role;
