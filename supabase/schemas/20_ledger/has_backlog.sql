/*
 * Whether more is due on an account than one call books (due_items of tokenbook.limits()): grants that
 * have run out, and grants that holds which have run out give back to. Counts no further than that.
 * Caller: internal.   Keeps: I11.
 */
create function tokenbook.has_backlog(p_user_id uuid)
returns boolean
language plpgsql
volatile -- it must see what was committed while the caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := clock_timestamp();
  v_portion constant integer := (tokenbook.limits() -> 'due_items')::integer;
begin
  if not exists (select from public.token_accounts a where a.user_id = p_user_id and a.next_due_at <= v_now) then
    return false; -- as a rule
  end if;
  return v_portion < (
    select count(*)
      from (
        select from public.token_balances b
         where b.user_id = p_user_id and b.is_open and b.expires_at <= v_now
         limit v_portion + 1) due) + (
    select coalesce(sum(cardinality(due.grant_ids)), 0)
      from (
        select h.grant_ids from public.token_holds h
         where h.user_id = p_user_id and h.status = 'open' and h.expires_at <= v_now
         limit v_portion + 1) due);
end
$$;
comment on function tokenbook.has_backlog is
  'Whether more is due on the account than one call books.';
