/*
 * The kinds of events, which webhooks tell of: each alert (token_alert. and its kind), and what happens to grants, payments, plans, caps and
 * accounts. Of the latter: what data says beside user_id. The one list: set_token_webhook_endpoint and the reference
 * have it from here, and the edge functions (_shared/lists.ts). A kind that is added here can be asked for; who writes it
 * is code of its own.
 * Caller: internal, and CHECKs.
 */
create function tokenbook.event_kinds()
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return (select jsonb_object_agg('token_alert.' || k.kind, 'alert_id, kind, rule and the payload of token_alerts')
            from jsonb_object_keys(tokenbook.alert_kinds()) as k (kind));
end
$$;
comment on function tokenbook.event_kinds is
  'The kinds of events: {kind: what its data says beside user_id}.';
