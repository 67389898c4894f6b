/*
 * Says whose a parked payment is, and what was bought, and brings the books to it. What an admin says is a fact like
 * an event's, kept with them; it counts where no event names one. What is left out stays as it is known.
 * Where nobody is known to be the payment's customer, the user is from now on, so that their next payment finds them,
 * and is given what else has waited for that (tokenbook.release_waiting). Whose a customer is already stays.
 * Caller: an admin, service_role.   Locks: the customer, then the payment's facts and those of the customer's waiting
 * payments, then the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found, plan_not_found, pack_not_found,
 * invalid_purchase, payment_not_found, payment_already_decided, balance_limit_exceeded, too_many_plans, busy.   Keeps: I9, I10, I12.
 */
-- Security definer: callers have no write access to the tables, and an admin reads other users' rows.
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
  v_fact_id constant text := 'assigned:' || gen_random_uuid();
  v_customer_id text;
  v_customer_user_id uuid;
  v_is_new boolean := false;
  v_waiting text[] := '{}';
  v_still_waiting integer := 0;
  v_ids text[];
  v_facts tokenbook.provider_payments;
  v_said jsonb;
  v_answer jsonb;
begin
  -- validate
  select * into v_actor from tokenbook.authorize(p_user_id, p_self_may => false);
  perform tokenbook.require_user(p_user_id, v_actor.actor_role);
  if num_nonnulls(p_plan_type, p_pack_type) > 0 then
    perform tokenbook.check_purchase(p_plan_type, p_pack_type, p_quantity);
  end if;
  if p_plan_type is not null and not exists (select 1 from public.token_plans p where p.plan_type = p_plan_type) then
    perform tokenbook.refuse('plan_not_found', '{"field": "p_plan_type"}');
  elsif p_pack_type is not null and not exists (select 1 from public.token_packs p where p.pack_type = p_pack_type) then
    perform tokenbook.refuse('pack_not_found', '{"field": "p_pack_type"}');
  end if;
  if tokenbook.settle_backlog(p_user_id) then
    return tokenbook.answer_busy();
  end if;

  -- lock
  select f.customer_id into v_customer_id
    from tokenbook.provider_payments f
   where f.provider = p_provider and f.part_of is null
     and f.provider_payment_id = any (tokenbook.joined_payments(p_provider, array[p_provider_payment_id]));
  if v_customer_id is not null then
    select c.user_id into v_customer_user_id
      from tokenbook.lock_customer(p_provider, v_customer_id, null, null, null) c;
    v_waiting := array_remove(
      tokenbook.waiting_payments(p_provider, v_customer_id, p_provider_payment_id), p_provider_payment_id);
  end if;
  perform tokenbook.lock_provider_payment(p_provider, p_provider_payment_id, v_waiting);
  v_ids := tokenbook.joined_payments(p_provider, array[p_provider_payment_id]);
  if v_ids is null then
    perform tokenbook.refuse('payment_not_found', tokenbook.say_payment_id());
  end if;
  v_facts := tokenbook.facts_of_payment(p_provider, v_ids); -- the row may be of before its customer was known
  if v_facts.customer_id is distinct from v_customer_id then -- learned while this waited: it is another lock
    perform tokenbook.refuse('busy', '{}');
  elsif v_facts.user_id <> p_user_id and tokenbook.standing_of_payment(v_facts) = 'parked' and v_facts.user_id = v_customer_user_id then
    perform tokenbook.refuse('payment_already_decided', jsonb_build_object(
      'status', 'parked', 'differs', array['user_id'], 'field', 'p_user_id',
      'rule', 'its customer is known to be another user: if that is wrong, set_token_customer with p_replace first'));
  elsif v_facts.user_id <> p_user_id
    or num_nonnulls(p_plan_type, p_pack_type) = 1 and num_nonnulls(v_facts.plan_type, v_facts.pack_type) = 1
      and (v_facts.plan_type, v_facts.pack_type, v_facts.quantity) is distinct from (p_plan_type, p_pack_type, p_quantity)
  then
    perform tokenbook.refuse('payment_already_decided', jsonb_build_object(
      'status', tokenbook.standing_of_payment(v_facts),
      'differs', array_remove(array[
        case when v_facts.user_id <> p_user_id then 'user_id' end,
        case when p_plan_type <> v_facts.plan_type or num_nonnulls(p_plan_type, v_facts.pack_type) = 2 then 'plan_type' end,
        case when p_pack_type <> v_facts.pack_type or num_nonnulls(p_pack_type, v_facts.plan_type) = 2 then 'pack_type' end,
        case when p_pack_type = v_facts.pack_type and p_quantity <> v_facts.quantity then 'quantity' end], null)));
  elsif v_facts.is_paid and num_nonnulls(p_plan_type, p_pack_type, v_facts.plan_type, v_facts.pack_type) = 0 then -- @assigned-to-something
    perform tokenbook.refuse('invalid_purchase',
      '{"field": "p_plan_type", "rule": "a plan, or p_pack_type and p_quantity: nothing else says what was bought"}');
  end if;

  -- record
  v_said := jsonb_strip_nulls(jsonb_build_object(
    'user_id', case when v_facts.user_id is null or v_facts.parked_reason in ('second_in_period', 'paid_with_credit') then p_user_id end, -- @assigned-though-known
    'plan_type', case when num_nonnulls(v_facts.plan_type, v_facts.pack_type) = 0 then p_plan_type end,
    'pack_type', case when num_nonnulls(v_facts.plan_type, v_facts.pack_type) = 0 then p_pack_type end));
  if v_customer_id is not null and v_customer_user_id is null then
    select c.user_id, c.is_new into v_customer_user_id, v_is_new -- @assigned-customers-are-known begin
      from tokenbook.lock_customer(p_provider, v_customer_id, p_user_id, 'infinity', v_fact_id) c; -- @assigned-customers-are-known end
  end if;
  if v_said <> '{}' then
    v_said := v_said || jsonb_build_object('kind', 'assigned')
      || case when v_said ?| array['plan_type', 'pack_type'] then jsonb_build_object('quantity', p_quantity) else '{}' end;
    insert into tokenbook.provider_events (provider, provider_payment_id, event_id, digest, event_type, occurred_at, facts)
    values (p_provider, v_facts.provider_payment_id, v_fact_id,
            tokenbook.digest_of_fact(p_provider, v_facts.provider_payment_id, v_fact_id, 'assign_parked_token_payment', v_said),
            'assign_parked_token_payment', clock_timestamp(), v_said);
  end if;
  v_facts := tokenbook.keep_payment_facts(p_provider, v_ids);
  if v_said <> '{}' or v_is_new then
    perform tokenbook.record_change(
      'assign_parked_token_payment', p_user_id, v_actor.actor_role, v_actor.actor_id, null,
      jsonb_build_object(
        'provider', p_provider, 'provider_payment_id', v_facts.provider_payment_id,
        'plan_type', v_facts.plan_type, 'pack_type', v_facts.pack_type, 'quantity', v_facts.quantity,
        'customer_id', case when v_is_new then v_customer_id end));
  end if;

  -- act
  v_answer := tokenbook.settle_and_describe_payment(v_facts, v_actor.actor_role, v_actor.actor_id, p_is_assigned => true);
  v_waiting := array(select unnest(v_waiting) except select unnest(v_ids));
  if v_is_new or cardinality(v_waiting) > 0 then
    v_still_waiting := tokenbook.release_waiting(
      p_provider, v_customer_id, v_customer_user_id, v_waiting, v_actor.actor_role, v_actor.actor_id);
  end if;
  return v_answer || jsonb_build_object(
    'customer_id', v_customer_id, 'customer_user_id', v_customer_user_id, 'payments_released', cardinality(v_waiting),
    'payments_waiting', v_still_waiting);
end
$$;
comment on function tokenbook.assign_parked_token_payment is
  'Says whose a parked payment is (and which plan or how many of which pack was bought, where that is not known) and brings the books to it. For an admin or the server. The payment''s customer is that user from then on, where nobody was known to be, and what else waited for the customer is theirs, payments at most 20 a call. Returns what record_token_payment_event returns, without replayed, and {customer_id, customer_user_id (whose the customer is), payments_released, payments_waiting (that the same call again gives)}. Errors: payment_not_found, payment_already_decided, plan_not_found, pack_not_found, invalid_purchase, user_not_found, balance_limit_exceeded, too_many_plans, forbidden, busy.';
