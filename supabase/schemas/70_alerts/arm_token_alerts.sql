/*
 * Brings accounts up to the present alert rules which nobody has touched since the rules changed, for
 * at most p_max_accounts users a call (call it until it returns 0). Needed for what time alone brings
 * (expiring_soon); a threshold cannot be crossed without a touch, and a call that touches an account arms
 * it by itself.
 * Accounts that are locked are skipped: the transaction that holds the lock arms them, or the next run does.
 * Caller: service_role, a scheduled job.   Locks: these accounts.   Returns how many.
 * Errors: invalid_page.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.arm_token_alerts(p_max_accounts integer default 1000)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_version bigint;
  v_user_ids uuid[];
begin
  perform tokenbook.check_body(); -- @server-sends-one-object
  if p_max_accounts is null or p_max_accounts not between 1 and 10000 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_max_accounts", "rule": "1 to 10000"}');
  end if;
  if not exists (select 1 from public.token_accounts) then -- @nobody-to-arm: and no row that a restored one would meet
    return 0;
  end if;
  perform tokenbook.restore_settings();
  v_version := (select r.alerts_version from tokenbook.project_settings r);
  select array_agg(behind.user_id) into v_user_ids
    from (
      select a.user_id from public.token_accounts a
       where (a.alerts_version < v_version or a.alerts_version > v_version) -- each by the index
         and not tokenbook.is_set_aside(a.user_id)
       limit p_max_accounts
         for no key update skip locked
    ) behind;
  if v_user_ids is not null then
    perform tokenbook.sweep_accounts(v_user_ids, clock_timestamp());
  end if;
  return coalesce(cardinality(v_user_ids), 0);
end
$$;
comment on function tokenbook.arm_token_alerts is
  'After the alert rules have changed: brings accounts up to them that nobody has touched since, at most p_max_accounts a call; returns how many, 0 when all are. For the server and scheduled jobs.';
