/*
 * Rejects a pending payment, with a reason. Rejecting twice changes nothing.
 * Caller: an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_reason, payment_not_found,
 * payment_already_decided, busy.
 */
-- Security definer: callers have no write access to the tables, and an admin reads other users' rows.
create function tokenbook.reject_token_payment(
  p_user_id uuid,
  p_payment_id uuid,
  p_reason text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_payment public.token_payments;
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  select * into v_actor from tokenbook.authorize(p_user_id, p_self_may => false);
  if p_reason is null then
    perform tokenbook.refuse('invalid_reason', '{"field": "p_reason", "rule": "1 to 500 characters, not all blank"}');
  end if;
  perform tokenbook.check_request(null, p_reason, null);
  perform tokenbook.lock_account(p_user_id);
  select p.* into v_payment from public.token_payments p where p.user_id = p_user_id and p.id = p_payment_id;
  if v_payment.id is null then
    perform tokenbook.refuse('payment_not_found', '{}');
  elsif v_payment.status not in ('pending', 'rejected') then
    perform tokenbook.refuse('payment_already_decided', jsonb_build_object('status', v_payment.status));
  end if;

  if v_payment.status = 'pending' then
    v_at := clock_timestamp();
    update public.token_payments p
       set status = 'rejected', reason = p_reason, decided_at = v_at, decided_by = v_actor.actor_id
     where p.user_id = p_user_id and p.id = p_payment_id;
    perform tokenbook.record_change(
      'reject_token_payment', p_user_id, v_actor.actor_role, v_actor.actor_id, p_reason,
      jsonb_build_object('payment_id', p_payment_id));
  end if;
  return jsonb_build_object(
    'success', true, 'payment_id', p_payment_id, 'status', 'rejected', 'replayed', v_payment.status = 'rejected');
end
$$;
comment on function tokenbook.reject_token_payment is
  'Rejects a pending payment with a reason. For an admin or the server. Rejecting twice changes nothing and answers replayed. Returns {success, payment_id, status, replayed}. Errors: payment_not_found, payment_already_decided, invalid_reason, forbidden, busy.';
