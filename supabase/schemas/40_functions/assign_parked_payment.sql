/*
 * Says whose a parked payment is, and for which plan, and brings the books to it.
 * Caller: an admin, service_role.   Locks: the payment's facts, then the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found, plan_not_found,
 * payment_not_found, payment_already_decided, busy.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create or replace function private.assign_parked_payment(
  p_provider text,
  p_provider_payment_id text,
  p_user_id uuid,
  p_plan_type text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_actor record;
  v_facts private.provider_payments;
begin
  select * into v_actor from private.authorize(p_user_id, p_self_may => false);
  perform private.require_user(p_user_id, v_actor.actor_role);
  if p_plan_type is not null and not exists (select from public.token_plans p where p.plan_type = p_plan_type) then
    perform private.refuse('plan_not_found', '{"field": "p_plan_type"}');
  end if;
  v_facts := private.lock_provider_payment(p_provider, p_provider_payment_id);
  if v_facts.provider is null then
    perform private.refuse('payment_not_found', '{}');
  elsif v_facts.user_id <> p_user_id or v_facts.plan_type <> p_plan_type then
    perform private.refuse('payment_already_decided', '{"status": "assigned"}');
  end if;
  update private.provider_payments f
     set user_id = p_user_id, plan_type = coalesce(f.plan_type, p_plan_type), updated_at = clock_timestamp()
   where f.provider = p_provider and f.provider_payment_id = p_provider_payment_id
  returning f.* into v_facts;
  return private.settled(v_facts);
end
$$;
comment on function private.assign_parked_payment(text, text, uuid, text) is 'See public.assign_parked_payment.';
revoke all on function private.assign_parked_payment(text, text, uuid, text) from public, anon, authenticated, service_role;
grant execute on function private.assign_parked_payment(text, text, uuid, text) to authenticated, service_role;

create or replace function public.assign_parked_payment(
  p_provider text,
  p_provider_payment_id text,
  p_user_id uuid,
  p_plan_type text default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.assign_parked_payment(p_provider, p_provider_payment_id, p_user_id, p_plan_type);
end
$$;
comment on function public.assign_parked_payment(text, text, uuid, text) is
  'Says whose a parked payment is (and for which plan, where that is not known) and brings the books to it. For an admin or the server. Returns what record_provider_event returns, without replayed. Errors: payment_not_found, payment_already_decided, plan_not_found, user_not_found, forbidden, busy.';
revoke all on function public.assign_parked_payment(text, text, uuid, text) from public, anon, authenticated, service_role;
grant execute on function public.assign_parked_payment(text, text, uuid, text) to authenticated, service_role;
