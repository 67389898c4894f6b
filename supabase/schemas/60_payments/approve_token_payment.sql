/*
 * Approves a pending payment: its plan and tokens, or its packs, in this commit, on the terms it was asked for
 * at: what the catalogue says since is shown (token_offer_now) and does not count, nor whether it is still
 * offered. Tokens are added to what the user has; the plan limit becomes the new total, and by a pack no lower
 * than that. The payment is its own key: approving twice answers what the first time answered.
 * The first payment of somebody who was referred rewards both, in this commit (tokenbook.settle_referral).
 * Caller: an admin, service_role.   Locks: the account and, where its user was referred, the referrer's.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_reason, payment_not_found,
 * payment_already_decided, trial_already_taken, trial_needs_identity, balance_limit_exceeded, busy.   Keeps: I5, I9, I10.
 */
-- Security definer: callers have no write access to the tables, and an admin reads other users' rows.
create function tokenbook.approve_token_payment(
  p_user_id uuid,
  p_payment_id uuid,
  p_reason text default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_entry public.token_transactions;
  v_payment public.token_payments;
  v_given record;
  v_transaction public.token_transactions;
  v_shown record;
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  select * into v_entry.actor_role, v_entry.actor_id from tokenbook.authorize(p_user_id, p_self_may => false);
  perform tokenbook.check_request(null, p_reason, null);
  if tokenbook.settle_backlog(p_user_id) then
    return tokenbook.answer_busy();
  end if;
  perform tokenbook.lock_with_referrer(p_user_id, p_payment_id);
  perform tokenbook.lock_account(p_user_id);
  select p.* into v_payment from public.token_payments p where p.user_id = p_user_id and p.id = p_payment_id;
  if v_payment.id is null then
    perform tokenbook.refuse('payment_not_found', '{}');
  elsif v_payment.status not in ('pending', 'approved') then
    perform tokenbook.refuse('payment_already_decided', jsonb_build_object('status', v_payment.status));
  end if;

  if v_payment.status = 'pending' then
    v_at := clock_timestamp();
    update public.token_payments p
       set status = 'approved', reason = p_reason, decided_at = v_at, decided_by = v_entry.actor_id
     where p.user_id = p_user_id and p.id = p_payment_id;
  end if;
  v_entry.user_id := p_user_id;
  v_entry.reason := p_reason;
  v_entry.metadata := '{}';
  v_given := tokenbook.give_what_was_bought(v_payment, null, v_entry);
  if v_payment.status = 'pending' then
    perform tokenbook.tell_of_payment('token_payment.approved', v_given.payment);
  end if;
  v_transaction := v_given.transaction;
  select s.plan_type, s.tokens_limit into v_shown from public.token_subscriptions s where s.user_id = p_user_id;
  perform tokenbook.settle_referral(v_given.payment, v_entry.actor_role, v_entry.actor_id); -- what it gives is not the payment's, and not in its answer

  return jsonb_build_object(
    'success', true,
    'payment_id', p_payment_id,
    'status', 'approved',
    'plan_type', v_payment.to_plan,
    'plan_in_force', v_shown.plan_type,
    'pack_type', v_payment.pack_type,
    'quantity', v_payment.quantity,
    'tokens_granted', v_transaction.tokens,
    'tokens_limit', case when v_given.replayed and v_payment.to_plan is not null
      then tokenbook.remaining_after(v_transaction) -- as it was then
      else v_shown.tokens_limit
    end,
    'tokens_remaining', tokenbook.remaining_after(v_transaction),
    'transaction_id', v_transaction.id,
    'replayed', v_given.replayed);
end
$$;
comment on function tokenbook.approve_token_payment is
  'Approves a pending payment: the plan and its tokens, or the packs, in one commit, added to what the user has, at the price and on the terms that it was asked for at (token_payments.terms; token_offer_now says what the catalogue says now). The plan limit becomes the new total; a pack leaves the plan as it is. For an admin or the server. Approving twice changes nothing and answers replayed. Returns {success, payment_id, status, plan_type, plan_in_force (which counts now: a lower plan waits for a higher one that is paid for), pack_type, quantity, tokens_granted, tokens_limit, tokens_remaining, transaction_id, replayed}. Errors: payment_not_found, payment_already_decided, invalid_reason, trial_already_taken, trial_needs_identity, balance_limit_exceeded, forbidden, busy.';
