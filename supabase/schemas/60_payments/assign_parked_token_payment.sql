/*
 * Says whose a parked payment is, and what was bought, and brings the books to it. What an admin says is a fact like
 * an event's, kept with them; it counts where no event names one. What is left out stays as it is known.
 * Caller: an admin, service_role.   Locks: the payment's facts, then the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found, plan_not_found, pack_not_found,
 * invalid_purchase, payment_not_found, payment_already_decided, busy.   Keeps: I9, I10, I12.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create function tokenbook.assign_parked_token_payment(
  p_provider text,
  p_provider_payment_id text,
  p_user_id uuid,
  p_plan_type text default null,
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
  v_facts tokenbook.provider_payments;
  v_ids text[];
  v_now timestamptz;
  v_said jsonb;
begin
  -- validate
  select * into v_actor from tokenbook.authorize(p_user_id, p_self_may => false);
  perform tokenbook.require_user(p_user_id, v_actor.actor_role);
  if num_nonnulls(p_plan_type, p_pack_type) > 0 then
    perform tokenbook.check_purchase(p_plan_type, p_pack_type, p_quantity);
  end if;
  if p_plan_type is not null and not exists (select from public.token_plans p where p.plan_type = p_plan_type) then
    perform tokenbook.refuse('plan_not_found', '{"field": "p_plan_type"}');
  elsif p_pack_type is not null and not exists (select from public.token_packs p where p.pack_type = p_pack_type) then
    perform tokenbook.refuse('pack_not_found', '{"field": "p_pack_type"}');
  end if;
  if tokenbook.settle_backlog(p_user_id) then
    return tokenbook.answer_busy();
  end if;

  -- lock
  v_ids := tokenbook.lock_provider_payment(p_provider, p_provider_payment_id);
  v_now := clock_timestamp();
  select f.* into v_facts
    from tokenbook.provider_payments f
   where f.provider = p_provider and f.provider_payment_id = any (v_ids) and f.part_of is null;
  if v_facts.provider is null then
    perform tokenbook.refuse('payment_not_found', '{}');
  elsif v_facts.user_id <> p_user_id
    or num_nonnulls(p_plan_type, p_pack_type) = 1 and num_nonnulls(v_facts.plan_type, v_facts.pack_type) = 1
      and (v_facts.plan_type, v_facts.pack_type, v_facts.quantity) is distinct from (p_plan_type, p_pack_type, p_quantity)
  then
    perform tokenbook.refuse('payment_already_decided', '{"status": "assigned"}');
  end if;

  -- record
  v_said := jsonb_strip_nulls(jsonb_build_object(
    'user_id', case when v_facts.user_id is null then p_user_id end,
    'plan_type', case when num_nonnulls(v_facts.plan_type, v_facts.pack_type) = 0 then p_plan_type end,
    'pack_type', case when num_nonnulls(v_facts.plan_type, v_facts.pack_type) = 0 then p_pack_type end));
  if v_said <> '{}' then
    v_said := v_said || jsonb_build_object('kind', 'assigned')
      || case when v_said ?| array['plan_type', 'pack_type'] then jsonb_build_object('quantity', p_quantity) else '{}' end;
    insert into tokenbook.provider_events (provider, provider_payment_id, event_id, digest, event_type, occurred_at, facts)
    values (p_provider, v_facts.provider_payment_id, 'assigned:' || gen_random_uuid(), sha256(convert_to(v_said::text, 'UTF8')),
            'assign_parked_token_payment', v_now, v_said);
    v_facts := tokenbook.keep_payment_facts(p_provider, v_ids);
    perform tokenbook.record_change(
      'assign_parked_token_payment', p_user_id, v_actor.actor_role, v_actor.actor_id, null,
      jsonb_build_object(
        'provider', p_provider, 'provider_payment_id', v_facts.provider_payment_id,
        'plan_type', v_facts.plan_type, 'pack_type', v_facts.pack_type, 'quantity', v_facts.quantity));
  end if;

  -- act
  return tokenbook.settle_and_describe_payment(v_facts, v_actor.actor_role, v_actor.actor_id);
end
$$;
comment on function tokenbook.assign_parked_token_payment is
  'Says whose a parked payment is (and which plan or how many of which pack was bought, where that is not known) and brings the books to it. For an admin or the server. Returns what record_token_payment_event returns, without replayed. Errors: payment_not_found, payment_already_decided, plan_not_found, pack_not_found, invalid_purchase, user_not_found, forbidden, busy.';
