/*
 * The use recorded before a user's books opened: the trail's rows, and older than the first of them the
 * deductions among the old transactions. An admin's deductions are in it; tokens are positive.
 * Caller: internal.
 */
create function tokenbook.usage_before_books(p_user_id uuid, p_opening public.token_transactions)
returns table (tokens bigint, cost numeric, is_operation boolean, created_at timestamptz)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_opening.id is null then -- the books began empty
    return;
  end if;
  return query
  with trail as (
    select -u.tokens as tokens, u.cost, u.is_operation, u.success, u.created_at
      from tokenbook.audit_trail(p_user_id) u
     where u.created_at < p_opening.created_at and u.transaction_id is null and u.copy_of is null
       and (u.is_operation or u.action_type = 'admin_deduct')
  )
  select t.tokens, t.cost, t.is_operation, t.created_at from trail t where t.success
  union all
  select -h.tokens, 0, h.action_type <> 'admin_deduct', h.created_at
    from public.token_legacy_transactions h
   where h.user_id = p_user_id and h.tokens < 0
     -- the name of a grant with a negative amount is a fault of its sign, not use
     and h.action_type <> all (tokenbook.recorded_grant_actions())
     and h.created_at < coalesce((select min(t.created_at) from trail t), 'infinity') - interval '1 minute';
end
$$;
comment on function tokenbook.usage_before_books is
  'The use recorded before the books opened: the audit trail''s, and before its first row the old transactions''.';
