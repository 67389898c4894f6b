/*
 * The project's burn order at a moment, fifo before it ever chose one; NULL: the newest choice.
 * Caller: internal. A deduction asks tokenbook.project_settings, which has it beside what else it needs.
 */
create function tokenbook.burn_order_at(p_at timestamptz)
returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce((
    select o.burn_order from tokenbook.burn_orders o
     where o.since <= p_at or p_at is null
     order by o.since desc
     limit 1), 'fifo');
end
$$;
comment on function tokenbook.burn_order_at is
  'The project''s burn order at a moment (NULL: its newest choice); fifo before it ever chose one.';
