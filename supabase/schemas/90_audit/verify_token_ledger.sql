/*
 * Whether the books are right: a row for each breach, and no row when there is none. For one user, for
 * everyone, or for the users after p_after up to p_until, so that a large database is gone through in
 * pieces and a run that was stopped goes on where it was.
 * All of it sees one snapshot, so it runs while the system is used without false alarms. What is compared:
 * tokenbook.find_breaches. Where a row holds what cannot even be read, that is the finding about its user, and the
 * others are looked at one by one.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden.
 */
-- Security definer: an admin reads other users' rows.
create function tokenbook.verify_token_ledger(
  p_user_id uuid default null,
  p_after uuid default null,
  p_until uuid default null
)
returns table (invariant text, user_id uuid, grant_id uuid, transaction_id bigint, expected text, found text)
language plpgsql
stable -- one snapshot for all that it asks
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user_id uuid;
begin
  perform tokenbook.authorize_operator();
  begin
    return query select b.* from tokenbook.find_breaches(p_user_id, p_after, p_until) b;
    return;
  exception
    when data_exception then -- @unreadable-users-apart
      null; -- it gives its rows when it has them all: none has been given
  end;
  for v_user_id in
    select a.user_id from public.token_accounts a
     where p_user_id is null and (p_after is null or a.user_id > p_after) and (p_until is null or a.user_id <= p_until)
    union
    select b.user_id from public.token_balances b
     where p_user_id is null and (p_after is null or b.user_id > p_after) and (p_until is null or b.user_id <= p_until)
    union
    select p_user_id where p_user_id is not null
     order by 1
  loop
    begin
      return query select b.* from tokenbook.find_breaches(v_user_id, null, null) b;
    exception
      when data_exception then
        return query select 'I3 the books can be read', v_user_id, null::uuid, null::bigint, 'values that are what they are to be', sqlerrm;
    end;
  end loop;
end
$$;
comment on function tokenbook.verify_token_ledger is
  'Whether the books are right: a row for each breach of an invariant, no row when there is none. For an admin or the server. For one user (p_user_id), for everyone, or for the users after p_after up to p_until. One snapshot: no false alarms while the system is used. Returns invariant, user_id, grant_id, transaction_id, expected, found. Errors: not_authenticated, forbidden.';
