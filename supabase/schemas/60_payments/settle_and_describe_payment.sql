/*
 * Settles a provider's payment and returns how it stands: the answer to events and to admins. p_is_assigned: an admin or the
 * server, having seen what was told of it, says what it is.
 * Caller: internal, holding the facts' lock.
 */
create function tokenbook.settle_and_describe_payment(
  p_facts tokenbook.provider_payments,
  p_actor_role text,
  p_actor_id uuid,
  p_is_assigned boolean default false
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_payment public.token_payments;
  v_account public.token_accounts;
  v_shown record;
begin
  perform tokenbook.tell_of_parked_payment(p_facts);
  v_payment := tokenbook.settle_payment(p_facts, p_actor_role, p_actor_id);
  perform tokenbook.tell_of_contradicted_payment(p_facts, v_payment, p_is_assigned);
  select a.* into v_account from public.token_accounts a where a.user_id = v_payment.user_id;
  select s.plan_type, s.tokens_limit into v_shown from public.token_subscriptions s where s.user_id = v_payment.user_id;
  return jsonb_build_object(
    'success', true,
    'status', tokenbook.standing_of_payment(p_facts),
    'parked_reason', p_facts.parked_reason,
    'payment_id', v_payment.id,
    'user_id', p_facts.user_id,
    'plan_type', p_facts.plan_type,
    'plan_in_force', v_shown.plan_type, -- @answers-what-counts
    'pack_type', p_facts.pack_type,
    'quantity', p_facts.quantity,
    'amount_cents', p_facts.amount_cents,
    'refunded_cents', p_facts.refunded_cents,
    'disputed_cents', p_facts.disputed_cents,
    'disagrees', p_facts.disagrees,
    'tokens_granted', coalesce(v_payment.tokens, 0),
    'tokens_clawed_back', coalesce(v_payment.tokens_clawed_back, 0),
    'tokens_owed', coalesce(v_account.tokens_owed, 0),
    'tokens_limit', v_shown.tokens_limit,
    'tokens_remaining', v_account.tokens_remaining);
end
$$;
comment on function tokenbook.settle_and_describe_payment is 'Settles a provider''s payment and returns how it stands, as JSON.';
