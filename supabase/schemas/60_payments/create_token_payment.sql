/*
 * Asks for a plan: a payment that waits for an administrator. Price and currency are the
 * catalogue's, never the caller's. A user has no more of them waiting than tokenbook.limit_of says.
 * Caller: the user for himself, an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_idempotency_key, plan_not_found,
 * idempotency_key_reused, user_not_found, account_frozen, trial_already_taken, trial_needs_identity,
 * too_many_payments, busy.   Keeps: I11.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create function tokenbook.create_token_payment(
  p_user_id uuid,
  p_to_plan text,
  p_idempotency_key text default null
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
  v_plan public.token_plans;
  v_payment public.token_payments;
  v_key text;
  v_limit integer;
  v_replayed boolean;
begin
  select * into v_actor from tokenbook.authorize(p_user_id, p_self_may => true);
  perform tokenbook.check_request(p_idempotency_key, null, null);
  -- as in the ledger: a user's keys and the server's for him never meet
  v_key := case when v_actor.actor_role = 'user' then 'user:' else 'server:' end || p_idempotency_key;
  v_account := tokenbook.lock_account(p_user_id);
  if v_account.user_id is null then
    perform tokenbook.require_user(p_user_id, v_actor.actor_role);
    perform tokenbook.lock_account(p_user_id, p_create => true);
  end if;

  select p.* into v_payment
    from public.token_payments p
   where p.user_id = p_user_id and p.idempotency_key = v_key;
  v_replayed := v_payment.id is not null;
  if v_replayed and v_payment.to_plan is distinct from p_to_plan then
    perform tokenbook.refuse('idempotency_key_reused', '{"differs": ["to_plan"]}');
  end if;
  if not v_replayed then
    perform tokenbook.require_active(p_user_id, v_account);
    perform tokenbook.apply_scheduled_downgrade(p_user_id);
    select p.* into v_plan from public.token_plans p where p.plan_type = p_to_plan and p.is_offered;
    if v_plan.plan_type is null then
      perform tokenbook.refuse('plan_not_found', '{"field": "p_to_plan"}');
    end if;
    perform tokenbook.require_trial(p_user_id, v_plan.grant_type);
    v_limit := tokenbook.limit_of('pending_payments');
    if exists (
      select from public.token_payments p where p.user_id = p_user_id and p.status = 'pending'
      offset v_limit - 1) -- @payments-are-bounded
    then
      perform tokenbook.refuse('too_many_payments', jsonb_build_object('limit', v_limit));
    end if;
    insert into public.token_payments as p (user_id, from_plan, to_plan, amount_cents, currency, idempotency_key)
    values (p_user_id,
            (select s.plan_type from public.token_subscriptions s where s.user_id = p_user_id),
            v_plan.plan_type, v_plan.price_cents, v_plan.currency,
            v_key)
    returning p.* into v_payment;
    perform tokenbook.record_change(
      'create_token_payment', p_user_id, v_actor.actor_role, v_actor.actor_id, null,
      jsonb_build_object('payment_id', v_payment.id, 'to_plan', v_payment.to_plan));
  end if;
  return jsonb_build_object(
    'success', true,
    'payment_id', v_payment.id,
    'status', v_payment.status,
    'from_plan', v_payment.from_plan,
    'to_plan', v_payment.to_plan,
    'amount_cents', v_payment.amount_cents,
    'currency', v_payment.currency,
    'replayed', v_replayed);
end
$$;
comment on function tokenbook.create_token_payment is
  'Asks for a plan: a pending payment for an admin to approve. For the user himself, an admin, or the server. Price and currency are the catalogue''s. Returns {success, payment_id, status, from_plan, to_plan, amount_cents, currency, replayed}. Errors: plan_not_found, invalid_idempotency_key, idempotency_key_reused, user_not_found, account_frozen, trial_already_taken, trial_needs_identity, too_many_payments, forbidden, busy.';
