/*
 * Books that money of a manual payment went back: that share of its tokens is taken back, or becomes
 * debt; all of it, and the plan goes back to the one before. p_refunded_cents is what has been
 * refunded in all (left out: everything), so a repetition changes nothing. Less than before (a transfer that
 * bounced, a mistake) gives back; 0 undoes the refund. What Stripe or PayPal refunds comes by their webhooks.
 * Caller: an admin, service_role.   Locks: the account and, where its user was referred, the referrer's.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_reason, invalid_amount,
 * payment_not_found, paid_at_provider, payment_already_decided, busy.   Keeps: I1 to I5, I9, I10.
 */
-- Security definer: callers have no write access to the tables, and an admin reads other users' rows.
create function tokenbook.refund_token_payment(
  p_user_id uuid,
  p_payment_id uuid,
  p_reason text,
  p_refunded_cents bigint default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_account public.token_accounts;
  v_payment public.token_payments;
  v_refunded bigint;
  v_replayed boolean;
begin
  select * into v_actor from tokenbook.authorize(p_user_id, p_self_may => false);
  if p_reason is null then
    perform tokenbook.refuse('invalid_reason', '{"field": "p_reason", "rule": "1 to 500 characters, not all blank"}');
  end if;
  perform tokenbook.check_request(null, p_reason, null);
  if tokenbook.settle_backlog(p_user_id) then
    return tokenbook.answer_busy();
  end if;
  perform tokenbook.lock_with_referrer(p_user_id, p_payment_id);
  v_account := tokenbook.lock_account(p_user_id);
  if v_account.next_due_at <= clock_timestamp() then
    perform tokenbook.record_expiries(array[p_user_id], clock_timestamp());
  end if;
  perform tokenbook.settle_subscription(p_user_id);
  select p.* into v_payment from public.token_payments p where p.user_id = p_user_id and p.id = p_payment_id;
  if v_payment.id is null then
    perform tokenbook.refuse('payment_not_found', '{}');
  elsif v_payment.provider <> 'manual' then
    perform tokenbook.refuse('paid_at_provider', '{}');
  elsif v_payment.status not in ('approved', 'refunded') then
    perform tokenbook.refuse('payment_already_decided', jsonb_build_object('status', v_payment.status));
  end if;
  v_refunded := coalesce(p_refunded_cents, greatest(v_payment.amount_cents, 1));
  if v_refunded not between 0 and greatest(v_payment.amount_cents, 1) then
    perform tokenbook.refuse('invalid_amount',
      '{"field": "p_refunded_cents", "rule": "what has been refunded in all: from 0 to what was paid"}');
  end if;

  v_replayed := v_refunded = v_payment.refunded_cents;
  v_payment := tokenbook.settle_refunds(
    v_payment, v_refunded, 0, p_reason, v_actor.actor_role, v_actor.actor_id); -- @less-gives-back
  if not v_replayed then
    perform tokenbook.record_change(
      'refund_token_payment', p_user_id, v_actor.actor_role, v_actor.actor_id, p_reason,
      jsonb_build_object('payment_id', p_payment_id, 'refunded_cents', v_refunded));
  end if;
  select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  return jsonb_build_object(
    'success', true,
    'payment_id', p_payment_id,
    'status', v_payment.status,
    'refunded_cents', v_payment.refunded_cents,
    'tokens_clawed_back', v_payment.tokens_clawed_back,
    'tokens_owed', v_account.tokens_owed,
    'tokens_limit', (select s.tokens_limit from public.token_subscriptions s where s.user_id = p_user_id),
    'tokens_remaining', v_account.tokens_remaining,
    'replayed', v_replayed);
end
$$;
comment on function tokenbook.refund_token_payment is
  'Books that money of a manual payment went back: that share of its tokens is taken back, what was spent of them becomes debt; in full, the plan goes back to the one before. For an admin or the server. p_refunded_cents is what has been refunded in all, left out: everything; less than before gives back, 0 undoes it. Returns {success, payment_id, status, refunded_cents, tokens_clawed_back, tokens_owed, tokens_limit, tokens_remaining, replayed}. Errors: payment_not_found, paid_at_provider, payment_already_decided, invalid_amount, invalid_reason, forbidden, busy.';
