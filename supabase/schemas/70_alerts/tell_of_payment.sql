/*
 * Writes a webhook for what became of a payment: token_payment.approved, .refunded (more of its money is lost than
 * before, in refunds and disputes), .restored (less is).
 * Caller: internal, holding the account's lock.
 */
create function tokenbook.tell_of_payment(p_kind text, p_payment public.token_payments)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if pg_relation_size('tokenbook.webhook_endpoints') = 0 then
    return;
  end if;
  perform tokenbook.write_webhook(p_kind, p_payment.user_id, clock_timestamp(), jsonb_build_object(
    'payment_id', p_payment.id,
    'provider', p_payment.provider,
    'provider_payment_id', p_payment.provider_payment_id,
    'plan_type', p_payment.to_plan,
    'pack_type', p_payment.pack_type,
    'quantity', p_payment.quantity,
    'amount_cents', p_payment.amount_cents,
    'currency', p_payment.currency,
    'tokens', p_payment.tokens)
    || case when p_kind <> 'token_payment.approved' then jsonb_build_object(
         'status', p_payment.status,
         'refunded_cents', p_payment.refunded_cents,
         'disputed_cents', p_payment.disputed_cents,
         'tokens_clawed_back', p_payment.tokens_clawed_back)
       else '{}' end);
end
$$;
comment on function tokenbook.tell_of_payment is
  'Writes an event into the outbox that a payment was approved, or that more or less of its money is lost.';
