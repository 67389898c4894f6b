/*
 * Refuses a user who has tried too many wrong codes of late, whatever they try now: a right code too, or a
 * refusal would tell that the code is wrong.
 * Caller: internal, holding the account's lock, so that of many tries at once each sees the ones before.
 * Errors: too_many_attempts.
 */
create function tokenbook.refuse_guessing(p_user_id uuid)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_limit constant integer := tokenbook.limits() -> 'code_attempts';
  v_resets_at timestamptz;
begin
  select a.since + (tokenbook.limits() -> 'code_attempt_seconds')::integer * interval '1 second' into v_resets_at
    from tokenbook.code_attempts a
   where a.user_id = p_user_id and a.failures >= v_limit; -- @guessing-has-a-bound
  if v_resets_at > clock_timestamp() then
    perform tokenbook.refuse('too_many_attempts', jsonb_build_object('limit', v_limit, 'resets_at', v_resets_at));
  end if;
end
$$;
comment on function tokenbook.refuse_guessing is
  'Refuses with too_many_attempts a user who has tried too many wrong codes of late.';

/*
 * Counts a wrong code, and answers it. The answer is no exception: that would roll the count back. It is the same for a
 * code that there never was, one that is over, used up or ended, and one that does not begin yet.
 * Caller: internal, holding the account's lock.   Returns {success: false, code, message, details, hint}.
 */
create function tokenbook.answer_wrong_code(p_user_id uuid)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := clock_timestamp();
  v_window constant interval := (tokenbook.limits() -> 'code_attempt_seconds')::integer * interval '1 second';
begin
  insert into tokenbook.code_attempts as a (user_id, failures, since) values (p_user_id, 1, v_now)
  on conflict (user_id) do update
     set failures = case when a.since + v_window > v_now then a.failures + 1 else 1 end,
         since = case when a.since + v_window > v_now then a.since else v_now end;
  return tokenbook.answer_refusal('code_not_redeemable', '{}'); -- @guesses-are-counted
end
$$;
comment on function tokenbook.answer_wrong_code is
  'Counts a code that was tried in vain and answers code_not_redeemable, as an answer that keeps the count.';
