/*
 * What the counter of a profile says was given, where it became a user's grant (migration
 * 20251114000000_cleanup_user_profiles): what was left, what was used, and what admins deducted of it.
 *
 * Nothing recorded what a counter began with, so it is what makes the counter's own numbers add up, and
 * no less than the trail's admin grants. A use that the counter did not deduct shows as a balance too high;
 * one that it deducted for failed or repeated operations as too low. Use that it has and no record stands for
 * (`unrecorded`) was before tracking: it was deducted rightly, and nothing is to be given back for it.
 * No row for a user whose counter became no grant.
 * Caller: internal.
 */
create function tokenbook.counter_at_opening(p_user_id uuid, p_opening public.token_transactions)
returns table (grant_id uuid, counted_at timestamptz, tokens_granted bigint, admin_granted bigint, unrecorded bigint)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_grant record;
  v_use record;
  v_admin_granted bigint;
  v_not_use bigint;
  v_used bigint;
begin
  select b.id, b.created_at, (b.metadata ->> 'tokens_remaining')::bigint as tokens_remaining,
         (b.metadata ->> 'tokens_used')::bigint as tokens_used
    into v_grant
    from public.token_balances b
   where b.user_id = p_user_id and b.metadata ->> 'source' = 'user_profiles' and b.grant_type = 'plan'
     and b.created_at <= p_opening.created_at
     -- what was granted since the books opened says so in the ledger, whatever its metadata say
     and not exists (
       select 1 from public.token_transactions t
        where t.user_id = p_user_id and t.entry_type = 'grant' and t.grant_ids[1] = b.id);
  if v_grant.id is null then
    return;
  end if;

  select coalesce(sum(u.tokens) filter (where u.is_operation), 0)::bigint as tokens,
         coalesce(sum(u.tokens) filter (where not u.is_operation), 0)::bigint as deducted
    into v_use
    from tokenbook.usage_before_books(p_user_id, p_opening) u
   where u.created_at <= v_grant.created_at;
  select coalesce(sum(u.tokens) filter (where u.action_type = 'admin_grant' and u.copy_of is null), 0)::bigint,
         coalesce(sum(abs(r.tokens_used)) filter (where u.is_operation and (u.copy_of is not null or not u.success)), 0)::bigint
    into v_admin_granted, v_not_use
    from tokenbook.audit_trail(p_user_id) u
    join public.token_usage r on r.user_id = p_user_id and r.id = u.usage_id
   where u.transaction_id is null and u.created_at <= v_grant.created_at;

  v_used := least(v_grant.tokens_used, v_use.tokens + v_not_use);
  return query
  select v_grant.id, v_grant.created_at,
         greatest(v_grant.tokens_remaining + v_used + v_use.deducted, v_admin_granted),
         v_admin_granted, v_grant.tokens_used - v_used;
end
$$;
comment on function tokenbook.counter_at_opening is
  'What the counter that became a user''s grant says was given before the books opened, and the use in it that no record stands for.';
