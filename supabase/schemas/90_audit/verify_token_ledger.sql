/*
 * Whether the books are right: a row for each breach, and no row when there is none. For one user, for
 * everyone, or for the users after p_after up to p_until, so that a large database is gone through in
 * pieces and a run that was stopped goes on where it was.
 * All of it sees one snapshot, so it runs while the system is used without false alarms. It reads the
 * tables alone and calls none of the functions that write them: a fault in those cannot hide itself.
 * What types of grants there are, it has from the one list: that is what it compares with, not what it
 * looks into.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create function tokenbook.verify_token_ledger(
  p_user_id uuid default null,
  p_after uuid default null,
  p_until uuid default null
)
returns table (invariant text, user_id uuid, grant_id uuid, transaction_id bigint, expected text, found text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.authorize_operator();
  return query
  with accounts as (
    select a.* from public.token_accounts a
     where (p_user_id is null or a.user_id = p_user_id)
       and (p_after is null or a.user_id > p_after)
       and (p_until is null or a.user_id <= p_until)
  ), grants as (
    select b.* from public.token_balances b
     where (p_user_id is null or b.user_id = p_user_id)
       and (p_after is null or b.user_id > p_after)
       and (p_until is null or b.user_id <= p_until)
  ), ledger as (
    select t.*,
           sum(t.tokens - t.reserved_change) over by_number as running,
           row_number() over by_number as nth,
           lag(t.created_at) over by_number as at_before
      from public.token_transactions t
     where (p_user_id is null or t.user_id = p_user_id)
       and (p_after is null or t.user_id > p_after)
       and (p_until is null or t.user_id <= p_until)
    window by_number as (partition by t.user_id order by t.id)
  ), usages as (
    select u.* from public.token_usage u
     where u.transaction_id is not null
       and (p_user_id is null or u.user_id = p_user_id)
       and (p_after is null or u.user_id > p_after)
       and (p_until is null or u.user_id <= p_until)
  ), of_usage as (
    select u.user_id, sum(u.cost_estimate) filter (where u.success) as cost from usages u group by u.user_id
  ), allocated as (
    select t.user_id, t.id as transaction_id, t.entry_type, t.created_at, part.grant_id, part.tokens,
           part.tokens * sign(t.tokens - t.reserved_change) as signed
      from ledger t
     cross join lateral unnest(t.grant_ids, t.grant_tokens) as part (grant_id, tokens)
  ), holds as (
    select h.* from public.token_holds h
     where (p_user_id is null or h.user_id = p_user_id)
       and (p_after is null or h.user_id > p_after)
       and (p_until is null or h.user_id <= p_until)
  ), of_holds as (
    select h.user_id, sum(h.tokens) as tokens, min(h.expires_at) as due
      from holds h where h.status = 'open' group by h.user_id
  ), of_hold_entries as (
    select t.user_id, t.hold_id, sum(t.reserved_change) as reserved,
           -sum(t.tokens) filter (where t.entry_type = 'deduction' and t.reserved_change < 0) as captured
      from ledger t where t.hold_id is not null group by t.user_id, t.hold_id
  ), charged as (
    select t.user_id, t.usage_id, abs(sum(t.tokens)) as tokens
      from ledger t where t.usage_id is not null and t.entry_type <> 'refund' group by t.user_id, t.usage_id
  ), of_grants as (
    select g.user_id, sum(g.tokens_remaining) as tokens, min(g.expires_at) filter (where g.is_open) as due
      from grants g group by g.user_id
  ), of_ledger as (
    select t.user_id, sum(t.tokens) as tokens, sum(t.debt_change) as debt, sum(t.reserved_change) as reserved, max(t.id) as last_id,
           -- a rollover into a grant without one out of a grant is what was lost and came back
           -sum(t.tokens) filter (where t.entry_type in ('expiry', 'rollover')) as expired,
           coalesce(sum((t.metadata ->> 'total_cost')::numeric) filter (where t.entry_type = 'opening_balance'), 0) as opening_cost,
           coalesce(sum((t.metadata ->> 'tokens_used')::numeric) filter (where t.entry_type = 'opening_balance'), 0)
             - coalesce(sum(t.tokens) filter (where t.entry_type in ('deduction', 'refund') and t.action_type <> 'admin_deduct'), 0) as used
      from ledger t group by t.user_id
  ), spending as (
    -- what was spent or came back, and the moment it was taken: a cap's window is that one's
    select t.user_id, t.member_id, t.reserved_change - t.tokens as tokens, -t.tokens as used,
           case when o.id is null then t.created_at when o.reserved_change < 0 then h.created_at else o.created_at end as at
      from ledger t
      left join ledger o on o.user_id = t.user_id and o.id = t.original_id and t.entry_type in ('release', 'refund')
      left join holds h on h.user_id = o.user_id and h.id = o.hold_id
     where t.entry_type in ('deduction', 'hold', 'release', 'refund') and t.action_type <> 'admin_deduct'
  ), members as (
    select m.* from public.token_team_members m
     where (p_user_id is null or m.user_id = p_user_id)
       and (p_after is null or m.user_id > p_after)
       and (p_until is null or m.user_id <= p_until)
  ), counters as (
    select a.user_id, null::uuid as member_id, a.spent_at, null::bigint as tokens_used, a.spent_day, a.spent_week, a.spent_month
      from accounts a
    union all
    select m.user_id, m.member_id, m.spent_at, m.tokens_used, m.spent_day, m.spent_week, m.spent_month from members m
  ), spent as (
    select c.*, s.tokens, s.used, s.at
      from counters c left join spending s on s.user_id = c.user_id
     where c.member_id is null
    union all
    select c.*, s.tokens, s.used, s.at
      from counters c left join spending s on s.user_id = c.user_id and s.member_id = c.member_id
     where c.member_id is not null
  ), counted as (
    select s.user_id, s.member_id, s.tokens_used, s.spent_day, s.spent_week, s.spent_month,
           coalesce(sum(s.used), 0) as used,
           coalesce(sum(s.tokens) filter (where s.at >= date_trunc('day', s.spent_at, 'UTC')), 0) as in_day,
           coalesce(sum(s.tokens) filter (where s.at >= date_trunc('week', s.spent_at, 'UTC')), 0) as in_week,
           coalesce(sum(s.tokens) filter (where s.at >= date_trunc('month', s.spent_at, 'UTC')), 0) as in_month
      from spent s
     group by s.user_id, s.member_id, s.tokens_used, s.spent_day, s.spent_week, s.spent_month
  )
  -- each grant by itself
  select 'I1 no overspend', g.user_id, g.id, null::bigint,
         'remaining between 0 and ' || g.tokens_granted, g.tokens_remaining::text
    from grants g where g.tokens_remaining not between 0 and g.tokens_granted
  union all
  select 'I1 an open grant has tokens', g.user_id, g.id, null,
         'open = ' || (g.tokens_remaining > 0), 'open = ' || g.is_open
    from grants g where g.is_open <> (g.tokens_remaining > 0)
  union all
  -- account and grants
  select 'I2 account = its grants', coalesce(a.user_id, g.user_id), null, null,
         coalesce(g.tokens, 0)::text, coalesce(a.tokens_remaining::text, 'no account')
    from accounts a full join of_grants g on g.user_id = a.user_id
   where coalesce(g.tokens, 0) is distinct from a.tokens_remaining
  union all
  -- account and ledger
  select 'I3 ledger = account', coalesce(a.user_id, t.user_id), null, null,
         coalesce(t.tokens, 0)::text, coalesce((a.tokens_remaining + a.tokens_reserved)::text, 'no account')
    from accounts a full join of_ledger t on t.user_id = a.user_id
   where coalesce(t.tokens, 0) is distinct from a.tokens_remaining + a.tokens_reserved
  union all
  select 'I3 balance after each transaction', t.user_id, null, t.id, t.running::text, t.balance_after::text
    from ledger t where t.balance_after <> t.running
  union all
  select 'I3 transactions are numbered without gaps', t.user_id, null, t.id, t.nth::text, t.id::text
    from ledger t where t.id <> t.nth
  union all
  select 'I3 the account knows its last transaction', a.user_id, null, null,
         coalesce(t.last_id, 0)::text, a.last_transaction_id::text
    from accounts a left join of_ledger t on t.user_id = a.user_id
   where a.last_transaction_id <> coalesce(t.last_id, 0)
  union all
  select 'I3 tokens used', a.user_id, null, null, coalesce(t.used, 0)::text, a.tokens_used::text
    from accounts a left join of_ledger t on t.user_id = a.user_id
   where a.tokens_used <> coalesce(t.used, 0)
  union all
  select 'I3 tokens expired', a.user_id, null, null, coalesce(t.expired, 0)::text, a.tokens_expired::text
    from accounts a left join of_ledger t on t.user_id = a.user_id
   where a.tokens_expired <> coalesce(t.expired, 0)
  union all
  select 'I3 debt', a.user_id, null, null, coalesce(t.debt, 0)::text, a.tokens_owed::text
    from accounts a left join of_ledger t on t.user_id = a.user_id
   where a.tokens_owed <> coalesce(t.debt, 0)
  union all
  select 'I3 total cost', a.user_id, null, null,
         (coalesce(t.opening_cost, 0) + coalesce(u.cost, 0))::text, a.total_cost::text
    from accounts a
    left join of_ledger t on t.user_id = a.user_id
    left join of_usage u on u.user_id = a.user_id
   where a.total_cost <> coalesce(t.opening_cost, 0) + coalesce(u.cost, 0)
  union all
  select 'I3 a rollover makes no tokens', t.user_id, t.grant_ids[1], t.id,
         case when t.tokens < 0 then 'carried on as ' || -t.tokens
              else 'out of ' || coalesce(o.entry_type || ' ' || o.tokens, 'nothing') end,
         coalesce(o.tokens, 0)::text
    from ledger t
    left join ledger o on o.user_id = t.user_id
     and case when t.tokens < 0 then o.original_id = t.id and o.entry_type = 'rollover' else o.id = t.original_id end
   where t.entry_type = 'rollover'
     and case o.entry_type when 'rollover' then o.tokens <> -t.tokens when 'expiry' then o.tokens > -t.tokens else true end
  union all
  select 'I3 spent in this day, week and month', c.user_id, null, null,
         concat_ws(', ', 'member ' || c.member_id, c.in_day, c.in_week, c.in_month),
         concat_ws(', ', 'member ' || c.member_id, c.spent_day, c.spent_week, c.spent_month)
    from counted c
   where (c.spent_day, c.spent_week, c.spent_month) is distinct from (c.in_day, c.in_week, c.in_month)
  union all
  select 'I3 what a member used', c.user_id, null, null, 'member ' || c.member_id || ', ' || c.used, c.tokens_used::text
    from counted c
   where c.tokens_used <> c.used
  union all
  select 'I3 a member has one payer', m.user_id, null, null, m.user_id::text, coalesce(a.payer_id::text, 'none')
    from members m
    left join public.token_accounts a on a.user_id = m.member_id
   where (m.until is null) <> coalesce(a.payer_id = m.user_id, false)
  union all
  select 'I3 a member has one payer', a.user_id, null, null, 'in the team of ' || a.payer_id, 'none'
    from accounts a
   where a.payer_id is not null
     and not exists (
       select from public.token_team_members m
        where m.user_id = a.payer_id and m.member_id = a.user_id and m.until is null)
  union all
  select 'I4 who spent is of the team', t.user_id, null, t.id, 'a member', t.member_id::text
    from ledger t
    left join members m on m.user_id = t.user_id and m.member_id = t.member_id
   where t.member_id is not null and m.member_id is null
  union all
  -- holds
  select 'I3 reserved = open holds', coalesce(a.user_id, h.user_id), null, null,
         coalesce(h.tokens, 0)::text, coalesce(a.tokens_reserved::text, 'no account')
    from accounts a full join of_holds h on h.user_id = a.user_id
   where coalesce(h.tokens, 0) is distinct from a.tokens_reserved
  union all
  select 'I3 reserved = its ledger', a.user_id, null, null, coalesce(t.reserved, 0)::text, a.tokens_reserved::text
    from accounts a left join of_ledger t on t.user_id = a.user_id
   where a.tokens_reserved <> coalesce(t.reserved, 0)
  union all
  select 'I4 a hold is what its history says', h.user_id, null, h.transaction_id,
         format('%s reserved, %s captured', case when h.status = 'open' then h.tokens else 0 end, coalesce(h.tokens_captured, 0)),
         format('%s reserved, %s captured', coalesce(t.reserved, 0), coalesce(t.captured, 0))
    from holds h
    left join of_hold_entries t on t.user_id = h.user_id and t.hold_id = h.id
   where coalesce(t.reserved, 0) <> case when h.status = 'open' then h.tokens else 0 end
      or coalesce(t.captured, 0) <> coalesce(h.tokens_captured, 0)
      or h.tokens <> (select sum(part) from unnest(h.grant_tokens) part)
  union all
  select 'I7 the account is due no later than its holds', a.user_id, null, null,
         'at ' || h.due || ' or before', coalesce(a.next_due_at::text, 'never')
    from accounts a join of_holds h on h.user_id = a.user_id
   where h.due < coalesce(a.next_due_at, 'infinity')
  union all
  -- usage and its transaction
  select 'I4 usage = its transaction', u.user_id, null, u.transaction_id,
         (case when u.success then u.tokens_used - u.tokens_uncovered else 0 end)::text,
         coalesce(t.tokens::text, 'no transaction')
    from usages u
    left join charged t on t.user_id = u.user_id and t.usage_id = u.id
   where t.tokens is distinct from case when u.success then u.tokens_used - u.tokens_uncovered else 0 end
  union all
  select 'I4 a transaction for a usage has it', t.user_id, null, t.id, 'usage ' || t.usage_id, 'none'
    from ledger t
    left join usages u on u.user_id = t.user_id and u.id = t.usage_id
   where t.usage_id is not null and u.id is null
  union all
  -- allocations
  select 'I4 allocations = transaction', t.user_id, null, t.id, greatest(abs(t.tokens), abs(t.reserved_change))::text,
         (select coalesce(sum(part), 0) from unnest(t.grant_tokens) part)::text
    from ledger t
   where greatest(abs(t.tokens), abs(t.reserved_change))
         <> (select coalesce(sum(part), 0) from unnest(t.grant_tokens) part)
  union all
  select 'I4 a grant is what its history left', g.user_id, g.id, null,
         coalesce(h.tokens, 0)::text, g.tokens_remaining::text
    from grants g
    left join (
      select a.user_id, a.grant_id, sum(a.signed) as tokens from allocated a group by a.user_id, a.grant_id) h
      on h.user_id = g.user_id and h.grant_id = g.id
   where g.tokens_remaining <> coalesce(h.tokens, 0)
  union all
  select 'I4 an allocation names a grant', a.user_id, a.grant_id, a.transaction_id, 'a grant of the user', 'none'
    from allocated a
    left join grants g on g.user_id = a.user_id and g.id = a.grant_id
   where g.id is null
  union all
  -- time
  select 'I7 nothing is spent at or after its expiry', a.user_id, a.grant_id, a.transaction_id,
         'before ' || g.expires_at, a.created_at::text
    from allocated a
    join grants g on g.user_id = a.user_id and g.id = a.grant_id
   where a.entry_type in ('deduction', 'hold') and a.signed < 0 -- what a hold set aside in time is paid later
     and a.created_at >= g.expires_at
  union all
  select 'I7 an expiry is booked when it is due', a.user_id, a.grant_id, a.transaction_id,
         'not before ' || g.expires_at, a.created_at::text
    from allocated a
    join grants g on g.user_id = a.user_id and g.id = a.grant_id
   where a.entry_type = 'expiry' and (a.created_at >= g.expires_at) is not true
  union all
  select 'I7 the account is due no later than its grants', a.user_id, null, null,
         'at ' || g.due || ' or before', coalesce(a.next_due_at::text, 'never')
    from accounts a
    join of_grants g on g.user_id = a.user_id
   where g.due < coalesce(a.next_due_at, 'infinity')
  union all
  -- the project's: said once, when all are asked about
  select 'I8 the settings say the burn order that was chosen', null, null, null, o.chosen,
         case when s.is_expiring_first then 'expiring_first' else 'fifo' end
    from tokenbook.project_settings s
   cross join lateral (
     select coalesce((select o.burn_order from tokenbook.burn_orders o order by o.since desc limit 1), 'fifo') as chosen) o
   where p_user_id is null and p_after is null and s.is_expiring_first <> (o.chosen = 'expiring_first')
  union all
  -- plan
  select 'I9 the balance is never above the plan limit', a.user_id, null, null,
         s.tokens_limit || ' or less', a.tokens_remaining::text
    from accounts a
    join public.token_subscriptions s on s.user_id = a.user_id
   where a.tokens_remaining > s.tokens_limit
  union all
  -- a grant and the transaction that gave it; grants from before the books have none
  select 'I4 a grant is what its transaction gave', g.user_id, g.id, t.id,
         differs.field || ' ' || coalesce(differs.expected, 'another'),
         differs.field || ' ' || coalesce(differs.found, 'none')
    from grants g
    join ledger t on t.user_id = g.user_id and t.entry_type = 'grant' and t.grant_ids[1] = g.id
   cross join lateral (values
     ('tokens_granted', t.tokens::text, g.tokens_granted::text),
     ('created_at', t.created_at::text, g.created_at::text),
     ('granted_at', least(g.granted_at, t.created_at)::text, g.granted_at::text),
     -- an action of one type alone says the type; a plan's grants are of any, but a trial is called one
     ('grant_type', coalesce((
                      select of.name from jsonb_each(tokenbook.grant_types()) as of (name, type)
                       where of.type ->> 'action_type' = t.action_type and t.action_type <> 'subscription_grant'),
                      nullif(g.grant_type, 'trial')), g.grant_type),
     -- a payment that came after its period had been granted stands in the grant alone
     ('payment_id', coalesce(t.payment_id, g.payment_id)::text, g.payment_id::text)
   ) as differs (field, expected, found)
   where differs.expected is distinct from differs.found
  union all
  select 'I4 a grant begins with the one transaction that gave it', h.user_id, h.grant_id, h.first_id,
         'one transaction that gives it, the first',
         h.times || ' that give it, from ' || coalesce(h.given_id::text, 'none') || ' on'
    from (
      select a.user_id, a.grant_id, min(a.transaction_id) as first_id,
             min(a.transaction_id) filter (where a.entry_type in ('grant', 'opening_balance', 'restatement', 'refund', 'restoration', 'release', 'rollover')) as given_id,
             count(*) filter (where a.entry_type in ('grant', 'opening_balance')) as times
        from allocated a group by a.user_id, a.grant_id) h
   where h.given_id is distinct from h.first_id or h.times > 1
  union all
  select 'I9 a grant''s subscription is the user''s', g.user_id, g.id, t.id,
         coalesce(s.id::text, 'none'), coalesce(g.subscription_id::text, 'none')
    from grants g
    join ledger t on t.user_id = g.user_id and t.entry_type = 'grant' and t.grant_ids[1] = g.id
    left join public.token_subscriptions s on s.user_id = g.user_id
   where g.subscription_id is distinct from s.id
     and (g.subscription_id is not null or g.period_start is not null)
  union all
  select 'I9 a payment is the user''s', n.user_id, n.grant_id, n.transaction_id, 'payment ' || n.payment_id, 'none'
    from (
      select g.user_id, g.id as grant_id, null::bigint as transaction_id, g.payment_id from grants g
      union all
      select t.user_id, null, t.id, t.payment_id from ledger t) n
    left join public.token_payments p on p.user_id = n.user_id and p.id = n.payment_id
   where n.payment_id is not null and p.id is null
  union all
  -- each transaction by itself: what the constraints say, asked again of what is there
  select 'I4 an entry is of one kind', t.user_id, null, t.id,
         'sign, reserve, debt and action of ' || t.entry_type,
         concat_ws(' ', t.tokens, 'tokens', t.reserved_change, 'reserved', t.debt_change, 'debt', t.action_type)
    from ledger t
   where (case t.entry_type
            when 'opening_balance' then t.id = 1 and t.tokens >= 0
            when 'grant' then t.tokens > 0
            when 'deduction' then t.tokens < 0 and t.reserved_change in (0, t.tokens)
            when 'expiry' then t.tokens < 0
            when 'clawback' then t.tokens <= 0 and t.debt_change >= 0
            when 'restoration' then t.tokens >= 0 and t.debt_change <= 0
            when 'debt_repayment' then t.tokens < 0 and t.debt_change = t.tokens
            when 'usage' then t.tokens = 0
            when 'restatement' then t.tokens <> 0
            when 'hold' then t.tokens = 0 and t.reserved_change > 0
            when 'release' then t.tokens = 0 and t.reserved_change < 0
            when 'refund' then t.tokens > 0
            when 'void' then t.tokens <= 0
            when 'rollover' then t.tokens <> 0
          end
          and (t.debt_change = 0 or t.entry_type in ('clawback', 'restoration', 'debt_repayment'))
          and (t.reserved_change = 0 or t.entry_type in ('deduction', 'hold', 'release'))
          and case
                when t.entry_type in ('opening_balance', 'expiry', 'clawback', 'restoration', 'debt_repayment', 'restatement', 'void', 'rollover')
                  then t.action_type = t.entry_type
                when t.action_type = any (tokenbook.grant_action_types())
                  then t.entry_type = 'grant'
                else t.entry_type <> 'grant'
                  and t.action_type not in ('opening_balance', 'expiry', 'clawback', 'restoration', 'debt_repayment', 'restatement', 'void', 'rollover')
              end) is not true
  union all
  select 'I4 an entry undoes what came before', t.user_id, null, t.id, 'before ' || t.id, t.original_id::text
    from ledger t where t.original_id not between 1 and t.id - 1
  union all
  select 'I4 usage and transaction say the same', u.user_id, null, t.id,
         differs.field || ' ' || coalesce(differs.expected, 'none'), differs.field || ' ' || coalesce(differs.found, 'none')
    from usages u
    left join ledger t on t.user_id = u.user_id and t.id = u.transaction_id
   cross join lateral (values
     ('usage_id', coalesce(t.usage_id::text, 'none'), u.id::text),
     -- an admin's grant of whatever type is an admin_grant in the trail
     ('action_type', case when t.entry_type = 'grant' then 'admin_grant' else t.action_type end, u.action_type),
     ('created_at', t.created_at::text, u.created_at::text),
     ('member_id', t.member_id::text, u.member_id::text)
   ) as differs (field, expected, found)
   where differs.expected is distinct from differs.found
  union all
  -- a hold and its entries
  select 'I4 a hold is what its entry says', h.user_id, null, h.transaction_id,
         differs.field || ' ' || coalesce(differs.expected, 'none'), differs.field || ' ' || coalesce(differs.found, 'none')
    from holds h
    left join ledger t on t.user_id = h.user_id and t.id = h.transaction_id and t.entry_type = 'hold'
    left join ledger c on c.user_id = h.user_id and c.id = h.capture_id
    left join ledger o on o.user_id = h.user_id and o.id = h.overage_id
   cross join lateral (values
     ('hold_id', t.hold_id::text, h.id::text),
     ('tokens', t.reserved_change::text, h.tokens::text),
     ('grant_ids', t.grant_ids::text, h.grant_ids::text),
     ('grant_tokens', t.grant_tokens::text, h.grant_tokens::text),
     ('action_type', t.action_type, h.action_type),
     ('actor_role', t.actor_role, h.actor_role),
     ('created_at', t.created_at::text, h.created_at::text),
     ('member_id', t.member_id::text, h.member_id::text),
     ('capture_id', case when h.capture_id is not null then coalesce(c.hold_id::text, 'another''s') end,
                    case when h.capture_id is not null then h.id::text end),
     ('captured_from', coalesce(h.grant_ids[:cardinality(c.grant_ids)]::text, 'none'), coalesce(c.grant_ids::text, 'none')),
     ('overage_id', case when h.overage_id is not null then coalesce(o.hold_id::text, 'another''s') end,
                    case when h.overage_id is not null then h.id::text end),
     ('usage_id', c.usage_id::text, h.usage_id::text),
     ('settled_at', case when h.status = 'open' then null else coalesce(c.created_at, h.settled_at)::text end,
                    h.settled_at::text)
   ) as differs (field, expected, found)
   where differs.expected is distinct from differs.found
  union all
  select 'I4 an entry of a hold is like it', t.user_id, null, t.id,
         coalesce('for ' || h.action_type, 'no hold'), concat_ws(' ', 'for', t.action_type, 'of hold', t.hold_id)
    from ledger t
    left join holds h on h.user_id = t.user_id and h.id = t.hold_id
   where case when t.hold_id is not null then (h.action_type, h.member_id) is distinct from (t.action_type, t.member_id)
              else t.entry_type in ('hold', 'release') end
  union all
  select 'I4 a refund is of its charge', t.user_id, null, t.id,
         concat_ws(' ', 'a deduction', o.action_type, o.usage_id, o.hold_id),
         concat_ws(' ', coalesce(o.entry_type, 'none'), t.action_type, t.usage_id, t.hold_id)
    from ledger t
    left join ledger o on o.user_id = t.user_id and o.id = t.original_id
   where t.entry_type = 'refund'
     and (o.entry_type, o.action_type, o.usage_id, o.hold_id, o.member_id)
         is distinct from ('deduction', t.action_type, t.usage_id, t.hold_id, t.member_id)
  union all
  -- keys
  select 'I5 one key, one effect', t.user_id, null, max(t.id), '1 for key ' || t.idempotency_key, count(*)::text
    from ledger t where t.idempotency_key is not null
   group by t.user_id, t.member_id, t.idempotency_key, (t.actor_role = 'user')
  having count(*) > 1
  union all
  select 'I5 a key keeps its request', t.user_id, null, t.id,
         case when t.idempotency_key is null then 'no request' else 'a request' end,
         case when t.request is null then 'no request' else 'a request' end
    from ledger t where (t.idempotency_key is null) <> (t.request is null)
  union all
  -- the order of time; a minute is left to a clock that was set back, or a standby's that was behind
  select 'I7 transactions are booked in the order of time', t.user_id, null, t.id,
         'from ' || coalesce(t.at_before, '-infinity') || ' to now', t.created_at::text
    from ledger t
   where t.created_at < t.at_before - interval '1 minute'
      or t.created_at > clock_timestamp() + interval '1 minute'
  union all
  -- who and why
  select 'I10 a change has an actor', t.user_id, null, t.id,
         'the user himself, an admin by his id, service or system without one',
         concat_ws(' ', t.actor_role, coalesce(t.actor_id::text, 'without an id'))
    from ledger t
   where (case t.actor_role
            when 'user' then t.actor_id = coalesce(t.member_id, t.user_id)
            when 'admin' then t.actor_id is not null
            when 'service' then t.actor_id is null
            when 'system' then t.actor_id is null
          end) is not true
  union all
  select 'I10 a change has a reason', t.user_id, null, t.id, '1 to 500 characters', coalesce(length(t.reason), 0)::text
    from ledger t
   where (length(t.reason) between 1 and 500) is not true
     -- what an admin or the server may do without giving one
     and not (t.reason is null and (t.entry_type in ('grant', 'refund', 'void', 'clawback') or t.action_type = 'admin_deduct'))
   order by 2, 1, 4, 3;
end
$$;
comment on function tokenbook.verify_token_ledger is
  'Whether the books are right: a row for each breach of an invariant, no row when there is none. For an admin or the server. For one user (p_user_id), for everyone, or for the users after p_after up to p_until. One snapshot: no false alarms while the system is used. Returns invariant, user_id, grant_id, transaction_id, expected, found. Errors: not_authenticated, forbidden.';
