/*
 * Refuses what nobody can buy: not exactly one of a plan and a pack, or another quantity than one may buy at
 * once. A plan is bought once.
 * Caller: internal.   Errors: invalid_purchase.
 */
create function tokenbook.check_purchase(p_plan_type text, p_pack_type text, p_quantity integer)
returns void
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_limit constant integer := tokenbook.limits() -> 'pack_quantity';
begin
  if num_nonnulls(p_plan_type, p_pack_type) <> 1 then
    perform tokenbook.refuse('invalid_purchase', '{"field": "p_pack_type", "rule": "a plan or a pack, one of them"}');
  elsif p_quantity is null or p_quantity not between 1 and v_limit then
    perform tokenbook.refuse('invalid_purchase', jsonb_build_object(
      'field', 'p_quantity', 'rule', format('a whole number from 1 to %s', v_limit)));
  elsif p_plan_type is not null and p_quantity <> 1 then
    perform tokenbook.refuse('invalid_purchase', '{"field": "p_quantity", "rule": "1: a plan is bought once"}');
  end if;
end
$$;
comment on function tokenbook.check_purchase is
  'Refuses with invalid_purchase what is not exactly one plan, or 1 to 1000 of one pack.';
