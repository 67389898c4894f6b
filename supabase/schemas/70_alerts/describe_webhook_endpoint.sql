/*
 * An endpoint as it is answered: its row, and the setting of the edge functions that has its secret.
 * Caller: internal.
 */
create function tokenbook.describe_webhook_endpoint(p_endpoint tokenbook.webhook_endpoints)
returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return to_jsonb(p_endpoint)
    || jsonb_build_object('secret_setting', 'TOKEN_WEBHOOK_SECRET_' || upper(p_endpoint.name));
end
$$;
comment on function tokenbook.describe_webhook_endpoint is
  'An endpoint as it is answered, with the name of the setting that has its secret.';
