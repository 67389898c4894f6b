/*
 * The subscription that an entry keeps (tokenbook.subscription_terms) as a row. An entry keeps no NULLs; a plan beside
 * says its own.
 * Caller: internal.
 */
create function tokenbook.kept_subscription(p_kept jsonb)
returns tokenbook.subscriptions
language plpgsql
stable
strict
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_is tokenbook.subscriptions := jsonb_populate_record(null::tokenbook.subscriptions, p_kept);
begin
  v_is.beside := (
    select coalesce(jsonb_agg(tokenbook.plan_beside(jsonb_populate_record(null::tokenbook.subscriptions, '{}')) || e.plan order by e.nth), '[]')
      from jsonb_array_elements(v_is.beside) with ordinality as e (plan, nth));
  return v_is;
end
$$;
comment on function tokenbook.kept_subscription is
  'The subscription that an entry of the ledger keeps, as a row.';
