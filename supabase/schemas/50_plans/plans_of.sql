/*
 * Each plan of a subscription as a row by itself: the one that was recorded to be in force, then those beside it.
 * Caller: internal, and readers of token_subscriptions.
 */
create function tokenbook.plans_of(p_subscription tokenbook.subscriptions)
returns setof tokenbook.subscriptions
language plpgsql
stable
strict
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_is tokenbook.subscriptions := p_subscription;
begin
  return next v_is;
  v_is.ended_at := null;
  v_is.beside := '[]';
  return query
  select one.*
    from jsonb_array_elements(p_subscription.beside) with ordinality as e (plan, nth)
   cross join lateral jsonb_populate_record(v_is, e.plan) one
   order by e.nth;
end
$$;
comment on function tokenbook.plans_of is
  'Each plan of a subscription as a row by itself: the one in force first, then those beside it.';
