/*
 * Books what is due on these accounts, in portions, for the sweeps: an account whose books are
 * damaged is set aside (tokenbook.set_aside_accounts) and does not hold up the others. All of them in one
 * statement as a rule; one by one only when that fails.
 * The caller has locked them.
 * Caller: internal.   Returns how many holds and grants were booked, and accounts set aside.   Keeps: I7, I11.
 */
create function tokenbook.sweep_accounts(p_user_ids uuid[], p_now timestamptz)
returns bigint
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user_id uuid;
  v_booked bigint := 0;
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  begin
    return tokenbook.record_expiries(p_user_ids, p_now, p_in_portions => true);
  exception
    when integrity_constraint_violation or data_exception or sqlstate 'PT500' then -- @damaged-accounts-set-aside
      null;
  end;
  foreach v_user_id in array p_user_ids
  loop
    exit when v_booked >= 10 * (tokenbook.limits() -> 'due_holds')::integer; -- @sweeps-are-bounded
    begin
      v_booked := v_booked + tokenbook.record_expiries(array[v_user_id], p_now, p_in_portions => true);
    exception
      when integrity_constraint_violation or data_exception or sqlstate 'PT500' then
        v_booked := v_booked + 1; -- there may be more behind it
        v_at := clock_timestamp();
        insert into tokenbook.set_aside_accounts as s (user_id, reason)
        values (v_user_id, left(sqlstate || ' ' || sqlerrm, 500))
        on conflict (user_id) do update set reason = excluded.reason, set_aside_at = v_at;
    end;
  end loop;
  return v_booked;
end
$$;
comment on function tokenbook.sweep_accounts is
  'Books a portion of what is due on each of these accounts, and sets aside those whose books are damaged; the caller holds their locks.';
