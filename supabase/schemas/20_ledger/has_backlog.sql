/*
 * Of an account that is due: whether more is than one call books (due_grants and due_holds of tokenbook.limits()), or
 * than so many portions of that: grants that have run out, with those that holds which have run out give back to and
 * those that were to begin, which may have run out since, and such holds. Counts no further than that.
 * Caller: internal.   Keeps: I11.
 */
create function tokenbook.has_backlog(p_user_id uuid, p_portions integer default 1)
returns boolean
language plpgsql
volatile -- it must see what was committed while the caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := clock_timestamp();
  v_grants constant integer := p_portions * (tokenbook.limits() -> 'due_grants')::integer;
  v_holds constant integer := p_portions * (tokenbook.limits() -> 'due_holds')::integer;
  v_due record;
begin
  select (
           select count(*) from (
             select 1 from public.token_balances b
              where b.user_id = p_user_id and b.is_open and b.expires_at <= v_now
              limit v_grants + 1) g) + (
           select count(*) from tokenbook.upcoming_grants u
            where u.user_id = p_user_id and u.starts_at <= v_now) as grants,
         holds.count as holds, holds.parts
    into v_due
    from (
      select count(*) as count, coalesce(sum(cardinality(h.grant_ids)), 0) as parts
        from (
          select o.grant_ids from public.token_holds o
           where o.user_id = p_user_id and o.status = 'open' and o.expires_at <= v_now
           limit v_holds + 1) h) holds;
  return v_due.grants + v_due.parts > v_grants or v_due.holds > v_holds;
end
$$;
comment on function tokenbook.has_backlog is
  'Whether more is due on the account than one call books, or than p_portions calls do.';
