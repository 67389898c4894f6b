/*
 * Refuses the name of an endpoint that there is not.
 * Caller: internal.   Errors: webhook_endpoint_not_found.
 */
create function tokenbook.require_webhook_endpoint(p_name text)
returns void
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (select 1 from tokenbook.webhook_endpoints e where e.name = p_name) then
    perform tokenbook.refuse('webhook_endpoint_not_found', '{}');
  end if;
end
$$;
comment on function tokenbook.require_webhook_endpoint is 'Refuses the name of an endpoint that there is not.';
