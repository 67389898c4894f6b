/*
 * What a delivery tells: data of the body. user_id is null for what is the project's own.
 * Caller: internal.
 */
create function tokenbook.webhook_data(p_delivery tokenbook.webhook_deliveries)
returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object('user_id', nullif(p_delivery.user_id, '00000000-0000-0000-0000-000000000000'))
    || coalesce(p_delivery.payload, (
         select jsonb_build_object('alert_id', t.id, 'kind', t.kind, 'rule', t.rule) || t.payload
           from public.token_alerts t
          where t.user_id = p_delivery.user_id and t.id = p_delivery.alert_id), '{}');
end
$$;
comment on function tokenbook.webhook_data is
  'What a delivery tells: user_id (null: the project), and of an alert what its row says.';
