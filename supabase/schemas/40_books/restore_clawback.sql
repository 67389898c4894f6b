/*
 * Gives back what a dispute had taken, when it was won: the debt first, then the tokens, to the
 * grants that they came from, last taken first; what a later grant repaid goes to the payment's
 * own grant. Into a grant that has run out meanwhile it expires at once, in the ledger.
 * Locks: the account.   Keeps: I1 to I4, I9.
 */
create or replace function private.restore_clawback(
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
  v_left bigint;
  v_part record;
  v_back bigint;
begin
  v_account := private.lock_account(p_payment.user_id);
  v_now := clock_timestamp();

  v_entry.debt_change := -least(p_tokens, v_account.tokens_owed);
  v_entry.tokens := p_tokens + v_entry.debt_change;
  v_entry.grant_ids := '{}';
  v_entry.grant_tokens := '{}';
  v_left := v_entry.tokens;
  for v_part in
    select b.id, b.tokens_granted - b.tokens_remaining as room, taken.tokens,
           b.payment_id is not distinct from p_payment.id as is_own
      from public.token_balances b
      left join (
        select a.grant_id, sum(case t.entry_type when 'clawback' then a.tokens else -a.tokens end)::bigint as tokens
          from public.token_transactions t
         cross join lateral unnest(t.grant_ids, t.grant_tokens) as a (grant_id, tokens)
         where t.user_id = p_payment.user_id and t.payment_id = p_payment.id
           and t.entry_type in ('clawback', 'restoration')
         group by a.grant_id) taken on taken.grant_id = b.id
     where b.user_id = p_payment.user_id
       and (taken.tokens > 0 or b.payment_id = p_payment.id)
     order by is_own, b.priority desc, b.granted_at desc, b.id desc
  loop
    -- the payment's own grant comes last and takes what the others did not give
    v_back := least(v_left, v_part.room, case when v_part.is_own then v_left else v_part.tokens end);
    continue when v_back <= 0;
    update public.token_balances b
       set tokens_remaining = b.tokens_remaining + v_back, is_open = true
     where b.user_id = p_payment.user_id and b.id = v_part.id;
    v_entry.grant_ids := v_entry.grant_ids || v_part.id;
    v_entry.grant_tokens := v_entry.grant_tokens || v_back;
    v_left := v_left - v_back;
  end loop;
  v_entry.tokens := v_entry.tokens - v_left;

  v_entry.user_id := p_payment.user_id;
  v_entry.entry_type := 'restoration';
  v_entry.action_type := 'restoration';
  v_entry.reason := p_reason;
  v_entry.actor_role := p_actor_role;
  v_entry.actor_id := p_actor_id;
  v_entry.payment_id := p_payment.id;
  v_entry.metadata := '{}';
  v_entry.created_at := v_now;
  perform private.book(v_entry);
  perform private.move_mark(p_payment.user_id, p_tokens);
  perform private.book_expiries(array[p_payment.user_id], v_now); -- also sets next_due_at anew
end
$$;
comment on function private.restore_clawback(public.payments, bigint, text, text, uuid) is
  'Gives clawed-back tokens of a payment back: debt first, then the grants they came from.';
revoke all on function private.restore_clawback(public.payments, bigint, text, text, uuid) from public, anon, authenticated, service_role;
