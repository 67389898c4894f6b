/*
 * The first user in the ledger after that one, by the index alone: a loop over all users misses
 * none, also not those whose account is lost, and reads one entry of each.
 * Caller: internal.   Returns NULL after the last; the first for NULL.
 */
create function tokenbook.next_ledger_user(p_after uuid)
returns uuid
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_after is null then
    return (select t.user_id from public.token_transactions t order by t.user_id, t.id limit 1);
  end if;
  return (
    select t.user_id
      from public.token_transactions t
     where (t.user_id, t.id) > (p_after, 9223372036854775807)
     order by t.user_id, t.id
     limit 1);
end
$$;
comment on function tokenbook.next_ledger_user is
  'The first user in the ledger after that one, in the order of their ids; the first of all for NULL, NULL after the last.';
