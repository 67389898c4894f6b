/*
 * Tells the project that a booked payment is another's, or another thing, by some event: it stays as it is booked, and
 * somebody has to look. Once, and again when another user, plan, pack or quantity is named. So is one that has more
 * disputes than are weighed; and one that is booked for a user who was deleted, and whom the provider goes on charging:
 * `deleted` in disagrees. An alert payment_contradicted of nobody's (user_id is all zeros). p_is_known: the caller who
 * now says what was bought has seen the contradiction, and no alert is needed.
 * Caller: internal, holding the facts' lock.
 */
create function tokenbook.tell_of_contradicted_payment(
  p_facts tokenbook.provider_payments,
  p_payment public.token_payments,
  p_is_known boolean
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_others constant jsonb := nullif(coalesce(p_facts.disagrees - 'currency', '{}') || case
    when p_payment.decided_at >= transaction_timestamp() and not tokenbook.is_user(p_payment.user_id) -- @deleted-payers-are-told
      then jsonb_build_object('deleted', jsonb_build_array(true))
    else '{}' end, '{}');
  v_known constant text := md5(v_others::text);
begin
  if p_payment.id is null or v_others is null or p_facts.told_as = v_known then -- @contradicted-told-once
    return;
  end if;
  update tokenbook.provider_payments f
     set told_as = v_known
   where f.provider = p_facts.provider and f.provider_payment_id = p_facts.provider_payment_id;
  if p_is_known then -- @assigned-with-eyes-open
    return;
  end if;
  perform tokenbook.tell_project('payment_contradicted', 'payment_contradicted', jsonb_build_object(
    'provider', p_facts.provider,
    'provider_payment_id', p_facts.provider_payment_id,
    'payment_id', p_payment.id,
    'paid_by', p_payment.user_id,
    'plan_type', p_payment.to_plan,
    'pack_type', p_payment.pack_type,
    'quantity', p_payment.quantity,
    'disagrees', v_others,
    'amount_cents', p_facts.amount_cents,
    'currency', p_facts.currency));
end
$$;
comment on function tokenbook.tell_of_contradicted_payment is
  'Writes an alert of the project''s that an event names another user, plan, pack or quantity than was booked; once for each.';
