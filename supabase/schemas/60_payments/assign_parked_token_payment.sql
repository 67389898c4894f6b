/*
 * Says whose a parked payment is, and for which plan, and brings the books to it.
 * Caller: an admin, service_role.   Locks: the payment's facts, then the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found, plan_not_found,
 * payment_not_found, payment_already_decided, busy.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create function tokenbook.assign_parked_token_payment(
  p_provider text,
  p_provider_payment_id text,
  p_user_id uuid,
  p_plan_type text default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_facts tokenbook.provider_payments;
begin
  select * into v_actor from tokenbook.authorize(p_user_id, p_self_may => false);
  perform tokenbook.require_user(p_user_id, v_actor.actor_role);
  if p_plan_type is not null and not exists (select from public.token_plans p where p.plan_type = p_plan_type) then
    perform tokenbook.refuse('plan_not_found', '{"field": "p_plan_type"}');
  end if;
  if tokenbook.settle_backlog(p_user_id) then
    return tokenbook.answer_busy();
  end if;
  v_facts := tokenbook.lock_provider_payment(p_provider, p_provider_payment_id);
  if v_facts.provider is null then
    perform tokenbook.refuse('payment_not_found', '{}');
  elsif v_facts.user_id <> p_user_id or v_facts.plan_type <> p_plan_type then
    perform tokenbook.refuse('payment_already_decided', '{"status": "assigned"}');
  end if;
  update tokenbook.provider_payments f
     set user_id = p_user_id, plan_type = coalesce(f.plan_type, p_plan_type), updated_at = clock_timestamp()
   where f.provider = p_provider and f.provider_payment_id = p_provider_payment_id
  returning f.* into v_facts;
  perform tokenbook.record_change(
    'assign_parked_token_payment', p_user_id, v_actor.actor_role, v_actor.actor_id, null,
    jsonb_build_object(
      'provider', p_provider, 'provider_payment_id', p_provider_payment_id, 'plan_type', v_facts.plan_type));
  return tokenbook.settle_and_describe_payment(v_facts, v_actor.actor_role, v_actor.actor_id);
end
$$;
comment on function tokenbook.assign_parked_token_payment is
  'Says whose a parked payment is (and for which plan, where that is not known) and brings the books to it. For an admin or the server. Returns what record_token_payment_event returns, without replayed. Errors: payment_not_found, payment_already_decided, plan_not_found, user_not_found, forbidden, busy.';
