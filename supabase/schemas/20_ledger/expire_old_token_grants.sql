/*
 * The sweeper: books what has run out and what the schedules of plans give, for at most p_max_accounts users a call and
 * of each no more than a portion (call it until it returns 0). A convenience that keeps the ledger's dates close to the
 * truth and the watched account rows fresh; nothing is spent or counted after its expiry without it.
 * Accounts that are locked are skipped, so it never waits and nobody waits long for it; the
 * transaction that holds the lock books what is due, or the next run does. So are, for an hour, those that the last run could not
 * bring up to date (tokenbook.sweep_accounts).
 * Caller: service_role, a scheduled job.   Locks: the due accounts.   Returns holds, grants and slots booked.
 * Errors: invalid_page.   Keeps: I11.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.expire_old_token_grants(p_max_accounts integer default 1000)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := clock_timestamp();
  v_user_ids uuid[];
begin
  perform tokenbook.check_body(); -- @server-sends-one-object
  if p_max_accounts is null or p_max_accounts not between 1 and 10000 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_max_accounts", "rule": "1 to 10000"}');
  end if;
  select array_agg(due.user_id) into v_user_ids
    from (
      select a.user_id from public.token_accounts a
       where a.next_due_at <= v_now
         and not tokenbook.is_set_aside(a.user_id)
       order by a.next_due_at
       limit p_max_accounts
         for no key update skip locked
    ) due;
  if v_user_ids is null then
    return 0;
  end if;
  return tokenbook.sweep_accounts(v_user_ids, v_now);
end
$$;
comment on function tokenbook.expire_old_token_grants is
  'Books grants and holds that have run out, for at most p_max_accounts users a call; returns how many, 0 when nothing more is due. For the server and scheduled jobs. Correctness does not need it.';
