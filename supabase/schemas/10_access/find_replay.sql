/*
 * The transaction that this entry's key already made, or NULL (as when it has no key). The same
 * key with another request is refused, naming the fields that differ and never their values. A
 * user's keys are their own on every account they spend from: a retry finds what the first call did before
 * the user joined a team, or while they were in one. Call it with the account locked: two first uses of a
 * key then run one after the other. Metadata of NULL: the caller can attach none, and what is stored there
 * was written by the books.
 * Caller: internal.   Errors: idempotency_key_reused.   Keeps: I5.
 */
create function tokenbook.find_replay(p_entry public.token_transactions)
returns public.token_transactions
language plpgsql
volatile -- it must see what was committed while the caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_transaction public.token_transactions;
  v_differs jsonb;
begin
  if p_entry.idempotency_key is null then
    return null;
  end if;
  select t.* into v_transaction
    from public.token_transactions t
   where t.user_id = coalesce(p_entry.member_id, p_entry.user_id) and t.member_id is null
     and t.idempotency_key = p_entry.idempotency_key
     and (t.actor_role = 'user') = (p_entry.actor_role = 'user');
  if v_transaction.id is null -- @keys-of-former-members
    and (p_entry.member_id is not null
      or exists (select 1 from public.token_accounts a where a.user_id = p_entry.user_id and a.was_member))
  then
    select t.* into v_transaction
      from public.token_transactions t
     where t.member_id = coalesce(p_entry.member_id, p_entry.user_id)
       and t.idempotency_key = p_entry.idempotency_key
       and (t.actor_role = 'user') = (p_entry.actor_role = 'user');
  end if;
  if v_transaction.id is null then
    return null;
  end if;

  select jsonb_agg(f.field order by f.field) into v_differs
    from (
      select coalesce(was.key, asked.key) as field
        from jsonb_each(v_transaction.request) was
        full join jsonb_each(p_entry.request) asked on asked.key = was.key
       where was.value is distinct from asked.value
      union all
      select 'metadata' where v_transaction.metadata <> p_entry.metadata
    ) f;
  if v_differs is not null then
    perform tokenbook.refuse('idempotency_key_reused', jsonb_build_object('differs', v_differs));
  end if;
  return v_transaction;
end
$$;
comment on function tokenbook.find_replay is
  'The transaction made under this entry''s key, or NULL; refuses the key when it stands for another request. A user''s keys and the server''s are apart.';
