/*
 * A plan as the catalogue had it at a moment: as it is now, but for what set_token_plan has changed since. So what a
 * plan was when something began does not depend on when somebody looks. What the owner of the database wrote with SQL
 * of their own is in no change: it counts as if it had always been so.
 * Caller: internal, and readers of token_subscriptions.
 */
-- Security definer: a user who reads their subscription may not read the changes; of those, this returns the price list's.
create function tokenbook.plan_at(p_plan_type text, p_at timestamptz)
returns public.token_plans
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_plan public.token_plans;
begin
  select p.* into v_plan from public.token_plans p where p.plan_type = p_plan_type;
  return jsonb_populate_record(v_plan, coalesce((
    select jsonb_object_agg(changed.name, c.details -> 'before' -> changed.name order by c.id desc) -- the first change counts
      from tokenbook.changes c
     cross join lateral jsonb_array_elements_text(c.details -> 'changed') as changed (name)
     where c.change = 'set_token_plan' and c.details ->> 'plan_type' = p_plan_type
       and c.details -> 'is_new' = 'false' and c.created_at > p_at), '{}')); -- @as-the-catalogue-was
end
$$;
comment on function tokenbook.plan_at is
  'A plan as the catalogue had it at a moment: as it is now, but for what set_token_plan has changed since.';
