/*
 * Sets an account's alert thresholds anew after something other than its balance has changed what they are made
 * of: the plan, the plan limit (tokens_limit), the top-up.
 * Caller: internal, holding the account's lock.
 */
create function tokenbook.refresh_alert_thresholds(p_user_id uuid)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_tokens bigint;
begin
  select a.tokens_remaining into v_tokens
    from public.token_accounts a
   where a.user_id = p_user_id
     and ((select r.alerts_version from tokenbook.project_settings r) is distinct from 0 -- 0: there never was a rule
       or exists (select 1 from public.token_top_ups t where t.user_id = p_user_id)
       or exists (select 1 from public.token_alert_rules r where r.user_id = p_user_id)); -- @rules-that-came-along
  if v_tokens is not null then
    perform tokenbook.raise_alerts(p_user_id, v_tokens, clock_timestamp());
  end if;
end
$$;
comment on function tokenbook.refresh_alert_thresholds is
  'Sets an account''s alert thresholds anew after its plan, its plan limit or its top-up has changed; the caller holds the account''s lock.';
