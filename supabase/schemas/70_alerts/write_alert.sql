/*
 * Writes one alert, and into the outbox for whom it is to be sent, in the transaction of what it tells. p_alert says kind, rule, what
 * about (epoch, grant_id or request_id), created_at, and in payload what its kind adds.
 * An alert that is there already is not written again, and is no error: an alert must not keep anybody
 * from spending.
 * Caller: internal, holding the account's lock.
 */
create function tokenbook.write_alert(p_alert public.token_alerts)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id bigint;
begin
  insert into public.token_alerts as t
    (user_id, id, kind, rule, epoch, grant_id, request_id, payload, created_at)
  select p_alert.user_id,
         coalesce((select max(o.id) from public.token_alerts o where o.user_id = p_alert.user_id), 0) + 1,
         p_alert.kind, p_alert.rule, p_alert.epoch, p_alert.grant_id, p_alert.request_id,
         jsonb_build_object(
           'tokens_remaining', a.tokens_remaining,
           'tokens_limit', s.tokens_limit,
           'plan_type', s.plan_type,
           'transaction_id', a.last_transaction_id)
         || coalesce(jsonb_strip_nulls(p_alert.payload), '{}'),
         p_alert.created_at
    from public.token_accounts a
    left join public.token_subscriptions s on s.user_id = a.user_id
   where a.user_id = p_alert.user_id
      on conflict do nothing
  returning t.id into v_id;
  if v_id is not null then
    perform tokenbook.write_webhook('token_alert.' || p_alert.kind, p_alert.user_id, p_alert.created_at, null, v_id);
  end if;
end
$$;
comment on function tokenbook.write_alert is
  'Writes one alert, with the account as it is, and into the outbox for whom it is to be sent; once for each crossing, grant or request.';
