/*
 * Where more is due on an account than one call books, books one portion of it and says so: the caller
 * then does nothing else and answers tokenbook.answer_busy(), which keeps the portion, where a refusal
 * would undo it. So a backlog of any size is booked after a number of calls, by any callers, and no call
 * takes longer than a portion does.
 * Call it before reading anything else of the account. Costs nothing when nothing is due. A caller that only reads
 * counts what is due as if it were booked, and passes as p_portions how many portions it can count.
 * Caller: internal.   Locks: the account, when there is a backlog.   Errors: busy, read_only.   Keeps: I11.
 */
create function tokenbook.settle_backlog(p_user_id uuid, p_portions integer default 1)
returns boolean
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (select 1 from public.token_accounts a where a.user_id = p_user_id and a.next_due_at <= clock_timestamp()) then
    return false; -- as a rule
  elsif not tokenbook.has_backlog(p_user_id, p_portions) then -- @backlogs-settled-first
    return false;
  end if;
  if current_setting('transaction_read_only')::boolean then
    perform tokenbook.refuse('read_only', '{}');
  end if;
  perform tokenbook.lock_account(p_user_id);
  perform tokenbook.record_expiries(array[p_user_id], clock_timestamp(), p_in_portions => true);
  return true;
end
$$;
comment on function tokenbook.settle_backlog is
  'Books a portion of what is due where more is due than one call books (or than p_portions), and returns true: the caller then answers tokenbook.answer_busy().';
