/*
 * How many of these a user may have at a time: what the project has chosen, else the default.
 * Caller: internal.
 */
create function tokenbook.limit_of(p_name text)
returns integer
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(
    (select c.value from tokenbook.chosen_limits c where c.name = p_name),
    (tokenbook.limits() -> p_name)::integer);
end
$$;
comment on function tokenbook.limit_of is
  'How many of these (open_holds, pending_payments) a user may have at a time.';
