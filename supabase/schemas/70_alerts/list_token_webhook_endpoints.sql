/*
 * The endpoints of webhooks, by name.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden.
 */
-- Security definer: nobody may read the table themselves.
create function tokenbook.list_token_webhook_endpoints()
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.authorize_operator();
  return (select coalesce(jsonb_agg(tokenbook.describe_webhook_endpoint(row(e.*)::tokenbook.webhook_endpoints) order by e.name), '[]')
            from tokenbook.webhook_endpoints e);
end
$$;
comment on function tokenbook.list_token_webhook_endpoints is
  'The endpoints of webhooks, at most 20. For an admin or the server. Returns [{name, url, kinds (null: everything), is_enabled, secret_setting (the setting of the edge functions that has its secret), created_at, updated_at}]. Errors: forbidden.';
