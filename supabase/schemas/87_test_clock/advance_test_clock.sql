/*
 * Advances the clock of one test user, for tests of an app: a year of a plan in a second. From one due moment of the
 * account to the next their past is moved back (tokenbook.move_past), and what is due then is booked as ever: slots,
 * expiries, holds that run out, plans that end, alerts. So each of them comes when it would have come.
 * At most 100 steps a call (I11): call it again with the seconds that are left, until is_done. Each step goes through all
 * that the user has.
 * Only for a user for whom the database owner has made a row in tokenbook.test_users; never for a user of whom a payment
 * provider has told, or whose entries a checkpoint covers: their past is evidence.
 * Caller: the owner of the database; no role of the API may execute it.   Locks: the account.
 * Returns {user_id, advanced_seconds, seconds_left, ahead_seconds, transactions, alerts, is_done}.
 * Errors: user_not_found, invalid_test_interval, not_a_test_user, busy.   Keeps: every invariant but that the past stays.
 */
create function tokenbook.advance_test_clock(p_user_id uuid, p_by interval)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
  c_steps constant integer := 100;
  v_now timestamptz := clock_timestamp();
  v_seconds numeric;
  v_left numeric;
  v_step numeric;
  v_rule text;
  v_before public.token_accounts;
  v_account public.token_accounts;
begin
  -- validate
  v_seconds := extract(epoch from v_now + p_by - v_now);
  if v_seconds is null or v_seconds <> trunc(v_seconds) or v_seconds not between 1 and 10 * 366 * 86400 then
    perform tokenbook.refuse('invalid_test_interval', '{"field": "p_by", "rule": "whole seconds, 1 to ten years"}');
  end if;
  if not tokenbook.is_user(p_user_id) then
    perform tokenbook.refuse('user_not_found', '{"field": "p_user_id"}');
  end if;

  -- lock
  v_before := tokenbook.lock_account(p_user_id, p_create => true);
  v_rule := case
    when not exists (select 1 from tokenbook.test_users u where u.user_id = p_user_id) then 'named in tokenbook.test_users' -- @test-users-are-named
    when exists (select 1 from tokenbook.provider_customers c where c.user_id = p_user_id) -- @nobody-who-pays begin
      or exists (select 1 from tokenbook.provider_payments p where p.user_id = p_user_id)
      or exists (select 1 from tokenbook.provider_subscriptions s where s.user_id = p_user_id)
      or exists (select 1 from public.token_payments p where p.user_id = p_user_id and p.provider <> 'manual') -- @nobody-who-pays end
      then 'nobody of whom a payment provider has told'
    when exists (select 1 from tokenbook.ledger_checkpoints c where c.user_id = p_user_id) -- @nobody-in-a-checkpoint
      then 'in no checkpoint of the ledger'
    when exists (select 1 from tokenbook.archived_usage a where a.user_id = p_user_id) -- hours that cannot be moved by less
      then 'nobody whose usage is archived'
  end;
  if v_rule is not null then
    perform tokenbook.refuse('not_a_test_user', jsonb_build_object('rule', v_rule));
  end if;
  perform tokenbook.require_unsplit('not_a_test_user', p_with_ledger => true); -- @clocks-wait-for-partitions

  -- act
  v_left := v_seconds;
  for v_nth in 1 .. c_steps
  loop
    v_account := tokenbook.lock_account(p_user_id);
    v_now := clock_timestamp();
    if v_account.next_due_at <= v_now then
      perform tokenbook.record_expiries(array[p_user_id], v_now, p_in_portions => true);
      v_account := tokenbook.lock_account(p_user_id);
    end if;
    continue when v_account.next_due_at <= v_now;
    exit when v_left = 0;
    v_step := case when v_account.next_due_at is null then v_left
                   else least(v_left, ceil(extract(epoch from v_account.next_due_at - v_now))) end; -- @from-due-to-due
    perform tokenbook.move_past(p_user_id, make_interval(secs => v_step::double precision));
    v_left := v_left - v_step;
  end loop;

  -- record
  v_account := tokenbook.lock_account(p_user_id);
  update tokenbook.test_users u
     set ahead = u.ahead + make_interval(secs => (v_seconds - v_left)::double precision)
   where u.user_id = p_user_id;
  return jsonb_build_object(
    'user_id', p_user_id,
    'advanced_seconds', v_seconds - v_left,
    'seconds_left', v_left,
    'ahead_seconds', (select extract(epoch from u.ahead)::bigint from tokenbook.test_users u where u.user_id = p_user_id),
    'transactions', v_account.last_transaction_id - v_before.last_transaction_id,
    'alerts', v_account.last_alert_id - v_before.last_alert_id,
    'is_done', v_left = 0 and (v_account.next_due_at <= clock_timestamp()) is not true);
end
$$;
comment on function tokenbook.advance_test_clock is
  'Advances the clock of a user of tokenbook.test_users, for an app''s tests: their past is moved back from one due moment to the next, and what is due is booked. For the owner of the database alone. At most 100 steps a call: call it again with seconds_left until is_done. Returns {user_id, advanced_seconds, seconds_left, ahead_seconds (in all), transactions, alerts, is_done}. Errors: user_not_found, invalid_test_interval, not_a_test_user, busy.';
