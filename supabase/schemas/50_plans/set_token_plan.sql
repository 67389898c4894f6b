/*
 * Makes a plan, or changes the fields that are given of one that is there. What changed counts from the next
 * period of each user on (rank, price, offer, names at providers: at once); payments that wait keep the terms they
 * were asked for at. The length of periods and the type of grants are what a plan is: they stay while anybody
 * is on it, is to be, or has asked for it.
 * A former name at a provider still counts for the plan. is_default true takes it from the plan that had it.
 * The same again changes nothing.
 * Caller: an admin, service_role.   Locks: the settings.
 * Errors: not_authenticated, forbidden, invalid_plan, invalid_reason, plan_in_use.   Keeps: I10.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.set_token_plan(
  p_plan_type text,
  p_plan jsonb,
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
  v_plan public.token_plans;
  v_fixed text;
  v_default_before text;
  v_written record;
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  v_actor := tokenbook.check_offer('invalid_plan', 'p_plan', p_plan, p_reason);

  select p.* into v_plan from public.token_plans p where p.plan_type = p_plan_type;
  select f.name into v_fixed
    from (values ('billing_cycle', v_plan.billing_cycle), ('grant_type', v_plan.grant_type)) as f (name, value)
   where v_plan.plan_type is not null and p_plan ? f.name and p_plan ->> f.name is distinct from f.value
   limit 1;
  if v_fixed is not null then
    perform 1 from public.token_plans p where p.plan_type = p_plan_type for update; -- a transaction that puts a user on the plan waits
    if exists (
      select 1 from tokenbook.subscriptions s
       where (p_plan_type in (s.plan_type, s.next_plan_type) and s.ended_at is null)
          or s.beside @> jsonb_build_array(jsonb_build_object('plan_type', p_plan_type))
      union all
      select 1 from public.token_payments p where p.to_plan = p_plan_type and p.status = 'pending') -- @plans-in-use-stay
    then
      perform tokenbook.refuse('plan_in_use', jsonb_build_object('field', v_fixed));
    end if;
  end if;

  if p_plan -> 'is_default' = 'true' then
    v_at := clock_timestamp();
    update public.token_plans p
       set is_default = false, updated_at = v_at
     where p.is_default and p.plan_type is distinct from p_plan_type
    returning p.plan_type into v_default_before;
  end if;
  v_written := tokenbook.write_offer(
    'invalid_plan', 'token_plans', 'plan_type', p_plan_type, tokenbook.keep_former_ids(p_plan, to_jsonb(v_plan)),
    case when v_plan.plan_type is not null then to_jsonb(v_plan) end);
  perform tokenbook.check_price_ids('invalid_plan');

  if v_written.changed <> '{}' or v_default_before is not null then
    perform tokenbook.record_change(
      'set_token_plan', null, v_actor.actor_role, v_actor.actor_id, p_reason,
      jsonb_build_object(
        'plan_type', p_plan_type, 'is_new', v_written.before is null, 'changed', v_written.changed,
        'default_before', v_default_before,
        'before', (select jsonb_object_agg(c, v_written.before -> c) from unnest(v_written.changed) c
                    where v_written.before is not null),
        'after', (select jsonb_object_agg(c, v_written.after -> c) from unnest(v_written.changed) c)));
  end if;
  return jsonb_build_object(
    'success', true,
    'plan_type', p_plan_type,
    'is_new', v_written.before is null,
    'changed', v_written.changed,
    'plan', v_written.after);
end
$$;
comment on function tokenbook.set_token_plan is
  'Makes a plan, or changes those of its fields that are given. For an admin or the server. p_plan {name, tokens, …}: fields of token_plans by name; a new one needs name and tokens. p_reason 1 to 500 characters. It counts from each user''s next period on; rank, price, offer and names at providers at once; payments that wait keep the terms they were asked for at. billing_cycle and grant_type stay while anybody is on the plan, is to be, or has asked for it. A stripe_price_id or paypal_plan_id that is replaced joins the former ones, which still count for the plan. is_default true takes it from the plan that had it. list_token_changes has the history. tokens is what a period gives, with issue_every what each of its slots does; tokens_per_period of the answer is all of a period. rank is 0 where it is left out. Returns {success, plan_type, is_new, changed: [field, …], plan (the row, tokens_per_period included)}. Errors: invalid_plan, invalid_reason, plan_in_use, forbidden.';
