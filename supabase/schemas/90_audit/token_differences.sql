/*
 * Where a user's ledger and their audit trail differ, a row each. `tokens` is what the books have too much of
 * (negative: too little), `grant_id` the grant that it sits in (NULL: what was next in burn order then), `line`
 * the line of the sum that it belongs to (none: nothing is off, it is only to be looked at).
 * `is_settled` says that a repair came after it (tokenbook.reconcile).
 *
 * And one row of the line `cost`, without a scenario: what the operations of the trail since the opening have cost. The
 * trail is what takes time, and so it is read once.
 *
 * A ledger entry that no usage row belongs to is the record itself. An entry that another one undoes is
 * not compared: what was undone was somebody's decision.
 * Caller: internal.
 */
create function tokenbook.token_differences(
  p_user_id uuid,
  p_opening public.token_transactions,
  p_base public.token_transactions
)
returns table (
  scenario text, cause text, line text, tokens bigint, size bigint, grant_id uuid, is_settled boolean,
  usage_id uuid, transaction_id bigint, created_at timestamptz, cost numeric
)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set enable_nestloop = off -- a user's hundred thousand rows are joined with themselves
as $$
begin
  return query
  with trail as materialized (
    select u.* from tokenbook.audit_trail(p_user_id) u
  ), entries as (
    -- the entries of one operation are one charge
    select min(t.id) as id, sum(t.tokens - t.debt_change)::bigint as tokens, -- what is owed for it was used as well
           max(t.id) as last_id,
           min(t.created_at) as created_at,
           min(t.id) <= coalesce(p_base.id, 0) as is_settled,
           bool_or(undone.id is not null) as is_undone
      from public.token_transactions t
      left join (
        select distinct later.original_id as id
          from public.token_transactions later
         where later.user_id = p_user_id and later.original_id is not null) undone on undone.id = t.id
     where t.user_id = p_user_id and t.entry_type in ('deduction', 'usage', 'grant')
     group by t.usage_id, case when t.usage_id is null then t.id end
  )
  -- the opening balance, and what the recorded use had left of it
  select case when g.opened_with > g.expected then 'balance_higher' else 'balance_lower' end,
         case
           when g.grant_id is null then 'used_more_than_was_granted'
           when not g.is_booked then 'granted_before_the_books_and_never_booked'
           when g.opened_with > g.expected then 'use_before_the_books_not_deducted'
           else 'less_than_was_granted_when_the_books_opened'
         end,
         'opening', g.opened_with - g.expected, abs(g.opened_with - g.expected),
         case when g.is_booked then g.grant_id end, false,
         null::uuid, p_opening.id,
         case when g.opened_with > g.expected then coalesce(used.first_at, p_opening.created_at) else g.granted_at end, null::numeric
    from tokenbook.grants_at_opening(p_user_id, p_opening) g
   cross join (select min(u.created_at) as first_at from tokenbook.usage_before_books(p_user_id, p_opening) u) used
   where p_base.entry_type = 'opening_balance' and g.opened_with <> g.expected
     -- a grant that was never booked would have run out by itself
     and (g.is_booked or (g.expires_at <= clock_timestamp()) is not true)
  union all
  -- an entry, and its usage row that says otherwise
  select case when e.tokens > u.tokens then 'balance_higher'
              when not u.success then 'failed_operations_counted'
              else 'balance_lower' end,
         case when not u.success then 'failed_and_deducted' else 'entry_differs_from_usage' end,
         case u.action_type when 'admin_grant' then 'admin_granted' when 'admin_deduct' then 'admin_deducted' else 'used' end,
         e.tokens - u.tokens, abs(e.tokens - u.tokens),
         (select t.grant_ids[cardinality(t.grant_ids)] from public.token_transactions t where t.user_id = p_user_id and t.id = e.last_id),
         e.is_settled, u.usage_id, e.id, e.created_at, null
    from trail u
    join entries e on e.id = u.transaction_id
   where u.copy_of is null and e.tokens <> u.tokens and not e.is_undone
  union all
  -- one operation, perhaps, deducted twice: nothing is off until somebody says so
  select 'duplicate_usage', 'one_request_deducted_twice',
         'none', 0, -- @requests-prove-nothing
         abs(e.tokens), null, e.is_settled, u.usage_id, e.id, e.created_at, null
    from trail u
    join entries e on e.id = u.transaction_id
   where u.same_request_as is not null and e.tokens <> 0 and not e.is_undone
  union all
  -- one operation, written down twice and deducted once: the balance is right
  select 'duplicate_usage', 'recorded_twice', 'none', 0, abs(u.tokens), null,
         coalesce(p_base.entry_type <> 'opening_balance' and u.created_at <= p_base.created_at, false),
         u.usage_id, null, u.created_at, null
    from trail u
   where u.copy_of is not null and u.transaction_id is null and u.tokens <> 0
  union all
  -- a usage row that nothing was booked for
  select case when u.tokens < 0 then 'balance_higher' else 'balance_lower' end,
         case when u.is_operation then 'used_and_not_deducted' else 'adjusted_and_not_booked' end,
         case when u.is_operation then 'used' when u.tokens > 0 then 'admin_granted' else 'admin_deducted' end,
         -u.tokens, abs(u.tokens), null,
         coalesce(p_base.entry_type <> 'opening_balance' and u.created_at <= p_base.created_at, false),
         u.usage_id, null, u.created_at, null
    from trail u
   where u.copy_of is null and u.transaction_id is null and u.tokens <> 0
     and u.created_at > coalesce(p_opening.created_at, '-infinity')
  union all
  select null, null, 'cost', 0, 0, null, false, null, null, null,
         coalesce(sum(u.cost), 0) + (
           select coalesce(sum(a.charged_cents), 0) from tokenbook.archived_usage a where a.user_id = p_user_id) -- @archived-cost-is-known
    from trail u
   where u.is_operation
     and (u.transaction_id is not null or p_opening.id is null or u.created_at > p_opening.created_at);
end
$$;
comment on function tokenbook.token_differences is
  'Where a user''s ledger and audit trail differ: by how many tokens, why, in which grant, and whether a repair has settled it.';
