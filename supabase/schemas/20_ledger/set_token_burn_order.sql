/*
 * Chooses in which order grants are spent, for the whole project, from now on: one of the two that
 * burn_order.sql says. Safe while traffic runs: each deduction reads it once, under the account's lock.
 * Caller: service_role.   Locks: the settings.   Errors: invalid_burn_order.   Keeps: I8.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.set_token_burn_order(p_burn_order text)
returns text
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.check_body(); -- @server-sends-one-object
  if p_burn_order is null or p_burn_order not in ('fifo', 'expiring_first') then
    perform tokenbook.refuse('invalid_burn_order', '{"field": "p_burn_order", "rule": "fifo or expiring_first"}');
  end if;
  perform tokenbook.lock_settings(); -- first, so that of two choices the one that holds is also the newest
  update tokenbook.project_settings r
     set is_expiring_first = p_burn_order = 'expiring_first' -- @burn-order-is-kept
   where r.is_current;
  insert into tokenbook.burn_orders (burn_order) values (p_burn_order);
  perform tokenbook.record_change(
    'set_token_burn_order', null, 'service', null, null, jsonb_build_object('burn_order', p_burn_order));
  return p_burn_order;
end
$$;
comment on function tokenbook.set_token_burn_order is
  'Chooses the order in which grants are spent from now on: fifo (the default) or expiring_first. For the server. Returns it. Errors: invalid_burn_order.';
