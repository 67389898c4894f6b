/*
 * Asks for a plan, or for packs: a payment that waits for an administrator. Price, currency and terms are the
 * catalogue's, never the caller's, and the payment keeps them: what is asked for now is given then. A user has no
 * more of them waiting than tokenbook.limit_of says.
 * Caller: the user for themself, an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_idempotency_key, invalid_purchase, plan_not_found,
 * pack_not_found, idempotency_key_reused, user_not_found, account_frozen, trial_already_taken, trial_needs_identity,
 * too_many_payments, busy.   Keeps: I11.
 */
-- Security definer: callers have no write access to the tables, and an admin reads other users' rows.
create function tokenbook.create_token_payment(
  p_user_id uuid,
  p_to_plan text default null,
  p_idempotency_key text default null,
  p_pack_type text default null,
  p_quantity integer default 1
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
  v_offer record;
  v_payment public.token_payments;
  v_key text;
  v_limit integer;
  v_replayed boolean;
  v_from_plan text;
begin
  select * into v_actor from tokenbook.authorize(p_user_id, p_self_may => true);
  perform tokenbook.check_request(p_idempotency_key, null, null);
  perform tokenbook.check_purchase(p_to_plan, p_pack_type, p_quantity);
  -- as in the ledger: a user's keys and the server's keys for that user are separate
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
  if v_replayed and (v_payment.to_plan, v_payment.pack_type, v_payment.quantity)
                    is distinct from (p_to_plan, p_pack_type, p_quantity)
  then
    perform tokenbook.refuse('idempotency_key_reused', jsonb_build_object('differs', array_remove(array[
      case when v_payment.to_plan is distinct from p_to_plan then 'to_plan' end,
      case when v_payment.pack_type is distinct from p_pack_type then 'pack_type' end,
      case when v_payment.quantity <> p_quantity then 'quantity' end], null)));
  end if;
  if not v_replayed then
    perform tokenbook.require_active(p_user_id, v_account);
    perform tokenbook.settle_subscription(p_user_id);
    v_offer := tokenbook.find_offer(p_to_plan, p_pack_type, p_quantity);
    if v_offer.is_offered is not true and p_to_plan is not null then
      perform tokenbook.refuse('plan_not_found', '{"field": "p_to_plan"}');
    elsif v_offer.is_offered is not true then
      perform tokenbook.refuse('pack_not_found', '{"field": "p_pack_type"}');
    end if;
    perform tokenbook.require_trial(p_user_id, p_to_plan);
    v_limit := tokenbook.limit_of('pending_payments');
    if exists (
      select 1 from public.token_payments p where p.user_id = p_user_id and p.status = 'pending'
      offset v_limit - 1) -- @payments-are-bounded
    then
      perform tokenbook.refuse('too_many_payments', jsonb_build_object('limit', v_limit));
    end if;
    if p_to_plan is not null then
      v_from_plan := (select s.plan_type from public.token_subscriptions s where s.user_id = p_user_id);
    end if;
    insert into public.token_payments as p
      (user_id, from_plan, to_plan, pack_type, quantity, amount_cents, currency, terms, idempotency_key)
    values
      (p_user_id,
       v_from_plan, p_to_plan, p_pack_type, p_quantity, v_offer.amount_cents, v_offer.currency, v_offer.terms, v_key)
    returning p.* into v_payment;
    perform tokenbook.record_change(
      'create_token_payment', p_user_id, v_actor.actor_role, v_actor.actor_id, null,
      jsonb_build_object(
        'payment_id', v_payment.id, 'to_plan', v_payment.to_plan, 'pack_type', v_payment.pack_type,
        'quantity', case when v_payment.pack_type is not null then v_payment.quantity end));
  end if;
  return jsonb_build_object(
    'success', true,
    'payment_id', v_payment.id,
    'status', v_payment.status,
    'from_plan', v_payment.from_plan,
    'to_plan', v_payment.to_plan,
    'pack_type', v_payment.pack_type,
    'quantity', v_payment.quantity,
    'terms', v_payment.terms,
    'amount_cents', v_payment.amount_cents,
    'currency', v_payment.currency,
    'replayed', v_replayed);
end
$$;
comment on function tokenbook.create_token_payment is
  'Asks for a plan (p_to_plan), or for p_quantity (1 to 1000) of a pack (p_pack_type): a pending payment for an admin to approve. For the user themself, an admin, or the server. Price, currency and terms are the catalogue''s, and are kept: a change of the catalogue before the approval does not count. Returns {success, payment_id, status, from_plan, to_plan, pack_type, quantity, terms, amount_cents, currency, replayed}. Errors: invalid_purchase, plan_not_found, pack_not_found, invalid_idempotency_key, idempotency_key_reused, user_not_found, account_frozen, trial_already_taken, trial_needs_identity, too_many_payments, forbidden, busy.';
