/*
 * Brings tokens and plan to what is left of a payment's money. Lost is what went back in refunds and what disputes
 * withhold; that share of its tokens is taken back, rounded down; all of them when all of the money is lost, and
 * then the plan it bought is not in force any more, nor its storage. What comes back (a refund that bounced, a dispute that was won) gives
 * its tokens back, and the plan when not all is lost any more. A loss that takes no whole token has an entry too, of
 * none: of slots that come later it takes its share, and the past is told from the ledger. The same state again changes
 * nothing. Of the share, what has run out unspent or been voided is gone already (tokens_lapsed), and nobody owes it.
 * So do the rewards of a referral (tokenbook.settle_referral).
 * p_payment is the payment with the amount and currency that it is to have.
 * Caller: internal, holding the account's lock.   Returns the payment.   Keeps: I1 to I5, I9, I10, I12.
 */
create function tokenbook.settle_refunds(
  p_payment public.token_payments,
  p_refunded_cents bigint,
  p_disputed_cents bigint,
  p_reason text,
  p_actor_role text,
  p_actor_id uuid
)
returns public.token_payments
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_was public.token_payments;
  v_lost bigint := p_refunded_cents + p_disputed_cents; -- @lost-is-both
  v_is_all_lost boolean := v_lost > 0 and v_lost >= p_payment.amount_cents;
  v_to_claw bigint;
  v_share constant numeric := least(1, v_lost::numeric / greatest(p_payment.amount_cents, 1));
  v_share_before numeric;
  v_lapsed bigint := 0; -- of the tokens that go now, or come back
  v_entry public.token_transactions;
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  -- what it has given by now: slots may have been booked since the caller looked
  select p.* into v_was
    from public.token_payments p where p.user_id = p_payment.user_id and p.id = p_payment.id;
  p_payment.tokens := v_was.tokens;
  v_share_before := least(1, (v_was.refunded_cents + v_was.disputed_cents)::numeric / greatest(v_was.amount_cents, 1));
  v_to_claw := case
    when v_is_all_lost then p_payment.tokens
    when v_lost > 0 then floor(p_payment.tokens::numeric * v_lost / p_payment.amount_cents)::bigint
    else 0
  end;
  v_entry.user_id := p_payment.user_id;
  v_entry.payment_id := p_payment.id;
  v_entry.actor_role := p_actor_role;
  v_entry.actor_id := p_actor_id;
  v_entry.metadata := '{}';
  if v_to_claw > v_was.tokens_clawed_back then
    v_lapsed := greatest(0, least(
      v_to_claw - v_was.tokens_clawed_back,
      tokenbook.lapsed_tokens(v_was) - v_was.tokens_lapsed)); -- @nobody-owes-what-lapsed
  elsif v_to_claw < v_was.tokens_clawed_back then
    v_lapsed := -greatest(0, v_was.tokens_lapsed - v_to_claw);
  end if;
  v_entry.terms := jsonb_build_object('refund', jsonb_strip_nulls(jsonb_build_object(
    'amount_cents', p_payment.amount_cents, 'refunded_cents', p_refunded_cents, 'disputed_cents', p_disputed_cents,
    'lapsed', nullif(v_lapsed, 0))));
  -- first: a slot that is booked meanwhile takes its share of the loss by itself
  update public.token_payments p
     set status = case when p_refunded_cents > 0 and p_refunded_cents >= p_payment.amount_cents then 'refunded' else 'approved' end,
         amount_cents = p_payment.amount_cents,
         currency = p_payment.currency,
         refunded_cents = p_refunded_cents,
         disputed_cents = p_disputed_cents,
         tokens_clawed_back = v_to_claw,
         tokens_lapsed = p.tokens_lapsed + v_lapsed
   where p.user_id = p_payment.user_id and p.id = p_payment.id
  returning p.* into p_payment;
  if (p_payment.amount_cents, p_payment.currency, v_lost)
    is distinct from (v_was.amount_cents, v_was.currency, v_was.refunded_cents + v_was.disputed_cents)
  then
    v_at := clock_timestamp();
    update tokenbook.sale_accounts c set changed_at = v_at where c.user_id = p_payment.user_id; -- @counted-again-when-changed
  end if;
  if v_lost <> v_was.refunded_cents + v_was.disputed_cents then
    perform tokenbook.tell_of_payment(
      case when v_lost > v_was.refunded_cents + v_was.disputed_cents then 'token_payment.refunded' else 'token_payment.restored' end,
      p_payment);
  end if;

  if (v_to_claw, v_share) > (v_was.tokens_clawed_back, v_share_before) then -- @each-loss-its-entry
    v_entry.reason := left(case when p_disputed_cents > 0 then 'disputed ' else 'refunded ' end || p_reason, 500); -- @reasons-fit
    perform tokenbook.claw_back(
      v_entry,
      (select b.id from public.token_balances b
        where b.user_id = p_payment.user_id and b.payment_id = p_payment.id),
      v_to_claw - v_was.tokens_clawed_back - v_lapsed); -- @clawed-back-only-once
  elsif (v_to_claw, v_share) < (v_was.tokens_clawed_back, v_share_before) then
    v_entry.reason := left('given back ' || p_reason, 500);
    perform tokenbook.restore_clawback(v_entry, v_was.tokens_clawed_back - v_to_claw + v_lapsed);
  end if;

  if p_payment.to_plan is not null then
    perform tokenbook.settle_plan_of_payment(p_payment, v_is_all_lost, p_actor_role, p_actor_id);
  end if;
  perform tokenbook.settle_referral(p_payment, p_actor_role, p_actor_id);
  return p_payment;
end
$$;
comment on function tokenbook.settle_refunds is
  'Brings tokens, debt, plan limit and plan to what refunds and disputes have left of a payment''s money.';
