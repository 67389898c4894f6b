/*
 * Reconciliation: whether balances are what the audit trail and the old records say, since when they are
 * not, and which of the known scenarios it is. Adds functions only; they read, and change nothing.
 */

-- from supabase/schemas/40_books/audit_trail.sql

/*
 * What the audit trail says of a user, a row each, beside what the ledger has of it: the one side of a
 * reconciliation. Reads the tables alone.
 *
 * `tokens` is what the balance should have moved by: an operation that succeeded less what was uncovered,
 * negative; a failed one 0; an admin's grant positive, his deduction negative.
 * `transaction_id` is its ledger entry, or the first of them: the entry that names the row, else the one that the row names; an
 * entry belongs to one row.
 * A row is a copy (`copy_of`) when another stands for the same ledger entry; when it has none and another
 * equals it in everything but the id, within the same second; or, with an entry or without, when another
 * that used as much has the same metadata.request_id. Two equal operations in one second, each deducted,
 * are two operations: only their request can tell that they were one.
 * Caller: internal.
 */
create or replace function private.audit_trail(p_user_id uuid)
returns table (
  usage_id uuid, transaction_id bigint, action_type text, tokens bigint, cost numeric,
  is_operation boolean, success boolean, copy_of uuid, created_at timestamptz
)
language plpgsql
stable
security invoker
set search_path = ''
set enable_nestloop = off -- a user with a hundred thousand rows is joined with himself
as $$
begin
  return query
  with charges as (
    -- a capture beyond its hold books two entries for one operation, a refund names it too
    select t.usage_id, min(t.id) as id
      from public.token_transactions t
     where t.user_id = p_user_id and t.usage_id is not null and t.entry_type in ('deduction', 'usage', 'grant')
     group by t.usage_id
  ), linked as (
    select u.*, coalesce(named.id, naming.id) as entry, named.id is not null as is_named,
           coalesce(u.metadata ->> 'request_id', u.metadata ->> 'requestId') as request
      from public.token_usage u
      left join charges named on named.usage_id = u.id
      left join public.token_transactions naming on naming.user_id = u.user_id and naming.id = u.transaction_id
       and naming.entry_type in ('deduction', 'usage', 'grant')
     where u.user_id = p_user_id
  ), compared as (
    select l.*,
           case when l.entry is not null then
             first_value(l.id) over (partition by l.entry order by l.is_named desc, l.created_at, l.id) end as first_of_entry,
           first_value(l.id) over (
             partition by l.action_type, l.model_used, l.tokens_used, l.input_tokens, l.output_tokens,
                          l.cost_estimate, l.success, l.error_message, l.request, date_trunc('second', l.created_at)
             order by l.entry is null, l.created_at, l.id) as first_of_equals,
           case when l.request is not null and l.success and l.action_type not in ('admin_grant', 'admin_deduct') then
             first_value(l.id) over (
               partition by l.request, l.action_type, l.model_used, l.tokens_used, l.input_tokens, l.output_tokens, l.success
               order by l.entry is null, l.created_at, l.id) end as first_of_request
      from linked l
  )
  select c.id,
         case when c.first_of_entry = c.id then c.entry end,
         c.action_type,
         case
           when c.action_type in ('admin_grant', 'subscription_grant', 'renewal_grant', 'trial_grant',
                                  'token_pack_purchase', 'pack_purchase') then abs(c.tokens_used)
           when not c.success then 0
           else -(abs(c.tokens_used) - c.tokens_uncovered)
         end,
         -- a second row for the same entry, or for none, costs nothing more
         case
           when not c.success then 0
           when c.copied is not null and c.first_of_entry is distinct from c.id then 0
           else coalesce(c.cost_estimate, 0)
         end,
         c.action_type not in ('admin_grant', 'admin_deduct', 'subscription_grant', 'renewal_grant',
                               'trial_grant', 'token_pack_purchase', 'pack_purchase'),
         c.success, c.copied, c.created_at
    from (
      select x.*,
             case
               when x.tokens_used = 0 then null
               when x.first_of_entry <> x.id then x.first_of_entry
               when x.entry is null and x.first_of_equals <> x.id then x.first_of_equals
               when x.first_of_request <> x.id then x.first_of_request
             end as copied
        from compared x) c;
end
$$;
comment on function private.audit_trail(uuid) is
  'The rows of token_usage of a user: what each should have moved the balance by, its ledger entry if it has one, and whether it is a copy of another.';
revoke all on function private.audit_trail(uuid) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/finding.sql

/*
 * One finding of a reconciliation, with the advice that its scenario has. `off` is by how much the balance is
 * too high (negative: too low) because of it; an adjustment by the opposite puts it right, where is_repairable.
 * Caller: internal.
 */
create or replace function private.finding(
  p_scenario text,
  p_cause text,
  p_tokens bigint,
  p_off bigint,
  p_since timestamptz,
  p_evidence jsonb
)
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select jsonb_build_object(
    'scenario', p_scenario,
    'cause', p_cause,
    'tokens', p_tokens,
    'off', p_off,
    'is_repairable', p_off <> 0 and p_cause <> 'account_differs_from_ledger',
    'since', p_since,
    'advice', case
      when p_cause = 'account_differs_from_ledger' then
        'The account and its own ledger differ. No adjustment repairs that: run verify_token_ledger, and find who wrote past the functions.'
      when p_scenario = 'balance_higher' then
        'Review token_usage for gaps and for operations from before tokens were tracked. Then deduct the difference.'
      when p_scenario = 'balance_lower' then
        'Review failed operations, duplicate entries and adjustments made by hand. Then grant the difference.'
      when p_scenario = 'cost_mismatch' then
        'Review how costs were calculated and whether model prices have changed; token_usage is the record. No tokens are concerned, and nothing books a cost alone.'
      when p_scenario = 'no_usage_records' then
        'Check whether the user has any AI operations at all: he may have started before tokens were tracked. Then set the balance by hand, from his membership tier.'
      when p_scenario = 'negative_balance' then
        'More was used than was ever granted. Check for calculation errors, then grant tokens to bring the balance positive, or leave it at 0.'
      when p_scenario = 'failed_operations_counted' then
        'A failed operation deducts nothing. Grant back what these took.'
      when p_cause = 'recorded_twice' then
        'Written down twice and deducted once: the balance is right, and this sum counts it once.'
      when p_scenario = 'duplicate_usage' then
        'One operation was deducted twice. Grant back the second.'
    end,
    'evidence', p_evidence)
$$;
comment on function private.finding(text, text, bigint, bigint, timestamptz, jsonb) is 'A finding of a reconciliation as JSON, with its scenario''s advice.';
revoke all on function private.finding(text, text, bigint, bigint, timestamptz, jsonb) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/grants_at_opening.sql

/*
 * What each grant should have had left when the books opened: the recorded use before that moment,
 * allocated over the grants in burn order, each use to grants that had not run out by then. The migrations
 * gave every active grant its full amount (decision 9); the difference is what they over-granted.
 *
 * Grants are those that the books took over, and admin_grant rows of the trail that no grant stands for:
 * the counter had them, the books never did. Use is what the trail has; older than its first row, what the
 * old transactions have. Use that no grant was there for is a row of its own, negative, without a grant.
 * Between two expiries the order of use does not matter, so the loop runs over expiries, not over rows.
 * Caller: internal.
 */
create or replace function private.grants_at_opening(p_user_id uuid, p_opening public.token_transactions)
returns table (
  grant_id uuid, is_booked boolean, priority smallint, granted_at timestamptz, expires_at timestamptz,
  tokens_granted bigint, opened_with bigint, expected bigint
)
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_ids uuid[];
  v_granted bigint[];
  v_expires timestamptz[];
  v_booked boolean[];
  v_priority smallint[];
  v_at timestamptz[];
  v_left bigint[];
  v_span record;
  v_needed bigint;
  v_taken bigint;
  v_uncovered bigint := 0;
begin
  select array_agg(g.id order by g.priority, g.at, g.id), array_agg(g.tokens order by g.priority, g.at, g.id),
         array_agg(g.ends order by g.priority, g.at, g.id), array_agg(g.booked order by g.priority, g.at, g.id),
         array_agg(g.priority order by g.priority, g.at, g.id), array_agg(g.at order by g.priority, g.at, g.id)
    into v_ids, v_granted, v_expires, v_booked, v_priority, v_at
    from (
      select b.id, b.tokens_granted as tokens, coalesce(b.expires_at, 'infinity') as ends, true as booked,
             b.priority, b.granted_at as at
        from public.token_balances b
       where b.user_id = p_user_id
         and not exists (
           select from public.token_transactions t
            where t.user_id = b.user_id and t.entry_type = 'grant' and t.grant_ids[1] = b.id)
      union all
      select u.usage_id, u.tokens, u.created_at + private.grant_lifetime('admin'), false, 50, u.created_at
        from private.audit_trail(p_user_id) u
       where u.action_type = 'admin_grant' and u.transaction_id is null and u.copy_of is null and u.tokens > 0
         and u.created_at < p_opening.created_at
         -- the app wrote the grant and its record within a minute, as the migrations take it
         and not exists (
           select from public.token_balances b
            where b.user_id = p_user_id and b.tokens_granted = u.tokens
              and b.granted_at between u.created_at - interval '1 minute' and u.created_at + interval '1 minute')
    ) g;
  v_left := v_granted;

  for v_span in
    select coalesce(ends.at, 'infinity') as ends_at, sum(used.tokens)::bigint as tokens
      from private.old_use(p_user_id, p_opening) used
      left join lateral (
        select min(e) as at from unnest(v_expires) e where e > used.created_at and e <= p_opening.created_at) ends on true
     group by 1
     order by 1
  loop
    v_needed := v_span.tokens;
    for i in 1 .. coalesce(cardinality(v_ids), 0) loop
      exit when v_needed = 0;
      continue when v_expires[i] < v_span.ends_at and v_expires[i] <= p_opening.created_at;
      v_taken := least(v_needed, v_left[i]);
      v_left[i] := v_left[i] - v_taken;
      v_needed := v_needed - v_taken;
    end loop;
    v_uncovered := v_uncovered + v_needed;
  end loop;

  return query
  select g.id, g.booked, g.priority, g.at, nullif(g.ends, 'infinity'), g.granted,
         coalesce((
           select sum(a.tokens) from unnest(p_opening.grant_ids, p_opening.grant_tokens) a (id, tokens)
            where a.id = g.id), 0)::bigint,
         case when g.ends <= p_opening.created_at then 0 else g.left_over end
    from unnest(v_ids, v_booked, v_priority, v_at, v_expires, v_granted, v_left)
      as g (id, booked, priority, at, ends, granted, left_over)
  union all
  select null, false, 0::smallint, '-infinity', null, 0, 0, -v_uncovered
   where v_uncovered > 0;
end
$$;
comment on function private.grants_at_opening(uuid, public.token_transactions) is
  'What each grant from before the books opened with, and what it should have had left by the recorded use.';
revoke all on function private.grants_at_opening(uuid, public.token_transactions) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/live_difference.sql

/*
 * What is left today of differences that sit in grants: a difference runs out with its grant. What the books
 * have too much of is lost when the grant expires, before the tokens that are right, and moves on to the next
 * grant when this one was spent. A grant that was voided has run out. What they have too little of would have been lost with what was left.
 * p_by_grant: {grant id: tokens}, with '' for what sits in none: use that no grant was there for falls on the
 * first that has something; a grant that was never booked stays what it is.
 * Caller: internal.
 */
create or replace function private.live_difference(p_user_id uuid, p_by_grant jsonb, p_now timestamptz)
returns bigint
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_grant record;
  v_carried bigint := greatest((p_by_grant ->> '')::bigint, 0);
  v_live bigint := least((p_by_grant ->> '')::bigint, 0);
  v_stays bigint;
begin
  for v_grant in
    select coalesce((p_by_grant ->> b.id::text)::bigint, 0) as difference,
           case when b.expires_at <= p_now then 0 else b.tokens_remaining end as tokens_left,
           case when b.expires_at <= p_now then b.tokens_remaining else 0 end
             + coalesce((
                 select sum(abs(t.grant_tokens[1])) from public.token_transactions t
                  where t.user_id = b.user_id and t.entry_type in ('expiry', 'void') and t.grant_ids[1] = b.id), 0) as tokens_lost
      from public.token_balances b
     where b.user_id = p_user_id
     order by b.priority, b.granted_at, b.id
  loop
    v_carried := v_carried + v_grant.difference;
    if v_grant.tokens_lost > 0 then
      v_carried := greatest(v_carried - v_grant.tokens_lost, 0);
    elsif v_grant.tokens_left > 0 then
      v_stays := least(v_carried, v_grant.tokens_left);
      v_live := v_live + v_stays;
      v_carried := v_carried - v_stays;
    end if;
  end loop;
  return v_live + v_carried;
end
$$;
comment on function private.live_difference(uuid, jsonb, timestamptz) is
  'Of differences by grant, what has not run out with its grant.';
revoke all on function private.live_difference(uuid, jsonb, timestamptz) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/old_use.sql

/*
 * The use recorded before a user's books opened: the trail's rows, and older than the first of them the
 * deductions among the old transactions. An admin's deductions are in it; tokens are positive.
 * Caller: internal.
 */
create or replace function private.old_use(p_user_id uuid, p_opening public.token_transactions)
returns table (tokens bigint, cost numeric, is_operation boolean, created_at timestamptz)
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  return query
  with trail as (
    select -u.tokens as tokens, u.cost, u.is_operation, u.success, u.created_at
      from private.audit_trail(p_user_id) u
     where u.created_at < p_opening.created_at and u.transaction_id is null and u.copy_of is null
       and (u.is_operation or u.action_type = 'admin_deduct')
  )
  select t.tokens, t.cost, t.is_operation, t.created_at from trail t where t.success
  union all
  select -h.tokens, 0, h.action_type <> 'admin_deduct', h.created_at
    from public.legacy_token_transactions h
   where p_opening.id is not null and h.user_id = p_user_id and h.tokens < 0
     -- the name of a grant with a negative amount is a fault of its sign, not use
     and h.action_type not in ('admin_grant', 'subscription_grant', 'renewal_grant', 'trial_grant',
                               'token_pack_purchase', 'pack_purchase')
     and h.created_at < coalesce((select min(t.created_at) from trail t), 'infinity') - interval '1 minute';
end
$$;
comment on function private.old_use(uuid, public.token_transactions) is
  'The use recorded before the books opened: the audit trail''s, and before its first row the old transactions''.';
revoke all on function private.old_use(uuid, public.token_transactions) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/reconcile.sql

/*
 * Compares the two records of a user: the books (account and ledger) and the audit trail, and for what lies
 * before the books opened the old grants and their recorded use. One snapshot; changes nothing.
 *
 * It starts from the last moment at which the balance was taken as right: nothing, when the books began
 * empty; else the opening balance, which is checked itself; else the last repair (an adjustment whose reason
 * begins with `reconciliation`, or a restatement). A repair is somebody's decision after having looked: what
 * was before it is settled, or each repair would be a discrepancy of its own.
 * Caller: internal.   Returns the answer of public.reconcile_user_token_balance.
 */
create or replace function private.reconcile(p_user_id uuid)
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_now timestamptz := clock_timestamp();
  v_account public.token_accounts;
  v_opening public.token_transactions;
  v_base public.token_transactions;
  v_due bigint;
  v_ledger record;
  v_old record;
  v_old_grants record;
  v_corrected record;
  v_difference record;
  v_live bigint;
  v_off bigint := 0;
  v_remaining bigint;
  v_expected bigint;
  v_used bigint;
  v_cost numeric;
  v_counters jsonb;
  v_findings jsonb := '[]';
  v_formula jsonb;
begin
  select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  select t.* into v_opening
    from public.token_transactions t
   where t.user_id = p_user_id and t.id = 1 and t.entry_type = 'opening_balance';
  select t.* into v_base
    from public.token_transactions t
   where t.user_id = p_user_id
     and (t.entry_type in ('opening_balance', 'restatement')
          or (t.action_type in ('admin_grant', 'admin_deduct') and t.reason ~* '^reconciliation'))
   order by t.id desc
   limit 1;
  select coalesce(sum(b.tokens_remaining), 0)::bigint into v_due
    from public.token_balances b
   where b.user_id = p_user_id and b.is_open and b.expires_at <= v_now;
  v_remaining := coalesce(v_account.tokens_remaining, 0) - v_due;

  -- token by token
  for v_difference in
    with differences as materialized (
      select d.*, d.cause = 'recorded_twice' as is_harmless
        from private.token_differences(p_user_id, v_opening, v_base) d
       where not d.is_settled
    ), by_grant as (
      select d.scenario, d.is_harmless, jsonb_object_agg(d.grant_id, d.tokens) as tokens
        from (
          select x.scenario, x.is_harmless, coalesce(x.grant_id::text, '') as grant_id, sum(x.tokens)::bigint as tokens
            from differences x group by 1, 2, 3) d
       group by d.scenario, d.is_harmless
    )
    select d.scenario, d.is_harmless, g.tokens as by_grant, sum(d.size)::bigint as size, count(*) as rows,
           min(d.created_at) as since,
           (array_agg(d.cause order by d.size desc, d.cause))[1] as cause,
           (array_agg(d.usage_id order by d.created_at) filter (where d.usage_id is not null))[1] as first_usage_id,
           min(d.transaction_id) as first_transaction_id
      from differences d
      join by_grant g on g.scenario = d.scenario and g.is_harmless = d.is_harmless
     group by d.scenario, d.is_harmless, g.tokens
     order by d.scenario, d.is_harmless
  loop
    v_live := private.live_difference(p_user_id, v_difference.by_grant, v_now);
    v_off := v_off + v_live;
    if v_live <> 0 or v_difference.is_harmless then
      v_findings := v_findings || private.finding(
        v_difference.scenario, v_difference.cause,
        case when v_difference.is_harmless then v_difference.size else abs(v_live) end,
        v_live, v_difference.since,
        jsonb_strip_nulls(jsonb_build_object('rows', v_difference.rows, 'first_usage_id', v_difference.first_usage_id,
                                             'first_transaction_id', v_difference.first_transaction_id)));
    end if;
  end loop;

  -- an account that its own ledger does not agree with
  select coalesce(sum(t.tokens), 0)::bigint as tokens,
         coalesce(-sum(t.tokens) filter (where t.entry_type in ('deduction', 'refund') and t.action_type <> 'admin_deduct'), 0)::bigint as used
    into v_ledger
    from public.token_transactions t
   where t.user_id = p_user_id;
  v_live := coalesce(v_account.tokens_remaining + v_account.tokens_reserved, 0) - v_ledger.tokens;
  if v_live <> 0 then
    v_off := v_off + v_live;
    v_findings := v_findings || private.finding(
      case when v_live > 0 then 'balance_higher' else 'balance_lower' end, 'account_differs_from_ledger',
      abs(v_live), v_live, null, jsonb_build_object('ledger', v_ledger.tokens));
  end if;
  v_expected := v_remaining - v_off;
  if least(v_expected, v_remaining) < 0 then
    v_findings := v_findings || private.finding(
      'negative_balance', case when v_remaining < 0 then 'balance_below_zero' else 'used_more_than_was_granted' end,
      -least(v_expected, v_remaining), 0, null, '{}');
  end if;

  -- lifetime use and its cost
  select coalesce(sum(u.tokens) filter (where u.is_operation), 0)::bigint as used,
         coalesce(sum(u.tokens) filter (where not u.is_operation), 0)::bigint as deducted,
         coalesce(sum(u.cost) filter (where u.is_operation), 0) as cost,
         count(*) filter (where u.is_operation) as rows
    into v_old
    from private.old_use(p_user_id, v_opening) u;
  select v_old.cost + coalesce(sum(u.cost) filter (
           where u.is_operation and (u.transaction_id is not null or v_opening.id is null or u.created_at > v_opening.created_at)), 0)
    into v_cost
    from private.audit_trail(p_user_id) u;
  select coalesce(sum(d.tokens) filter (where d.line = 'used'), 0)::bigint as all_used,
         coalesce(sum(d.tokens) filter (where d.line = 'used' and not d.is_settled), 0)::bigint as used,
         coalesce(-sum(d.tokens) filter (where d.line = 'admin_granted' and not d.is_settled), 0)::bigint as admin_granted,
         coalesce(sum(d.tokens) filter (where d.line = 'admin_deducted' and not d.is_settled), 0)::bigint as admin_deducted
    into v_corrected
    from private.token_differences(p_user_id, v_opening, v_base) d;
  v_used := v_old.used + v_ledger.used + v_corrected.all_used;

  select jsonb_build_object(
           'tokens_remaining', max(c.vibe_assistant_tokens_remaining), 'tokens_used', max(c.vibe_assistant_tokens_used),
           'total_cost', max(c.vibe_assistant_total_cost) * 100)
    into v_counters
    from private.archived_profile_counters c
   where c.user_id = p_user_id
  having count(*) > 0;
  if v_base.entry_type = 'opening_balance' and v_old.rows = 0 and (v_base.metadata ->> 'tokens_used')::numeric > 0 then
    v_findings := v_findings || private.finding(
      'no_usage_records', 'a_counter_without_records', (v_base.metadata ->> 'tokens_used')::bigint, 0, null,
      coalesce(v_counters, '{}'));
  elsif abs(coalesce(v_account.total_cost, 0) - v_cost) >= 1 then
    v_findings := v_findings || jsonb_build_array(
      private.finding('cost_mismatch', 'cost_differs_from_usage', 0, 0, null, '{}')
      || jsonb_build_object('cents', coalesce(v_account.total_cost, 0) - v_cost));
  end if;

  -- the sum, line by line
  select coalesce(sum(g.tokens_granted) filter (where g.is_booked), 0)::bigint as granted,
         coalesce(sum(g.tokens_granted) filter (where not g.is_booked), 0)::bigint as admin_granted
    into v_old_grants
    from private.grants_at_opening(p_user_id, v_opening) g
   where v_base.entry_type = 'opening_balance';
  select jsonb_build_object(
           'since', case when v_base.id is null then 'the beginning' when v_base.entry_type = 'opening_balance' then 'before the books'
                         else 'repair ' || v_base.id end,
           -- with what was set aside, which balance_after leaves out
           'start', case when v_base.entry_type <> 'opening_balance' then (
             select sum(b.tokens) from public.token_transactions b
              where b.user_id = p_user_id and b.id <= v_base.id) else 0 end,
           'granted', v_old_grants.granted
             + coalesce(sum(t.tokens) filter (where t.entry_type = 'grant' and t.action_type <> 'admin_grant'), 0),
           'admin_granted', v_old_grants.admin_granted + v_corrected.admin_granted
             + coalesce(sum(t.tokens) filter (where t.action_type = 'admin_grant'), 0),
           'tokens_used', v_corrected.used
             + case when v_base.entry_type = 'opening_balance' then v_old.used else 0 end
             - coalesce(sum(t.tokens) filter (where t.entry_type in ('deduction', 'refund') and t.action_type <> 'admin_deduct'), 0),
           'admin_deducted', v_corrected.admin_deducted
             + case when v_base.entry_type = 'opening_balance' then v_old.deducted else 0 end
             - coalesce(sum(t.tokens) filter (where t.action_type = 'admin_deduct'), 0),
           'clawed_back', -coalesce(sum(t.tokens) filter (where t.entry_type in ('clawback', 'restoration', 'debt_repayment')), 0),
           'other', coalesce(sum(t.tokens) filter (
             where t.entry_type not in ('grant', 'deduction', 'refund', 'expiry', 'clawback', 'restoration', 'debt_repayment')), 0),
           'reserved', coalesce(v_account.tokens_reserved, 0))
    into v_formula
    from public.token_transactions t
   where t.user_id = p_user_id and t.id > coalesce(v_base.id, 0);
  v_formula := v_formula || jsonb_build_object('expired',
    (v_formula ->> 'start')::bigint + (v_formula ->> 'granted')::bigint + (v_formula ->> 'admin_granted')::bigint
    - (v_formula ->> 'tokens_used')::bigint - (v_formula ->> 'admin_deducted')::bigint - (v_formula ->> 'clawed_back')::bigint
    + (v_formula ->> 'other')::bigint - (v_formula ->> 'reserved')::bigint - v_expected);

  return jsonb_build_object(
    'user_id', p_user_id,
    'current_remaining', v_remaining,
    'current_used', coalesce(v_account.tokens_used, 0),
    'current_cost', coalesce(v_account.total_cost, 0),
    'calculated_used', v_used,
    'calculated_cost', v_cost,
    'expected_remaining', v_expected,
    'remaining_difference', v_off,
    'used_difference', coalesce(v_account.tokens_used, 0) - v_used,
    'cost_difference', coalesce(v_account.total_cost, 0) - v_cost,
    'since', (select min((f ->> 'since')::timestamptz) from jsonb_array_elements(v_findings) f),
    'formula', v_formula,
    'counters_before_the_books', v_counters,
    'last_transaction_id', coalesce(v_account.last_transaction_id, 0),
    'findings', v_findings);
end
$$;
comment on function private.reconcile(uuid) is 'Compares a user''s books with his audit trail; the answer of public.reconcile_user_token_balance.';
revoke all on function private.reconcile(uuid) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/token_differences.sql

/*
 * Where a user's ledger and his audit trail differ, a row each. `tokens` is what the books have too much of
 * (negative: too little), `grant_id` the grant that it sits in, `line` the line of the sum that it belongs to.
 * `is_settled` says that a repair came after it (private.reconcile).
 *
 * A ledger entry that no usage row belongs to is the record itself. An entry that another one undoes is
 * not compared: what was undone was somebody's decision.
 * Caller: internal.
 */
create or replace function private.token_differences(
  p_user_id uuid,
  p_opening public.token_transactions,
  p_base public.token_transactions
)
returns table (
  scenario text, cause text, line text, tokens bigint, size bigint, grant_id uuid, is_settled boolean,
  usage_id uuid, transaction_id bigint, created_at timestamptz
)
language plpgsql
stable
security invoker
set search_path = ''
set enable_nestloop = off -- a user with a hundred thousand rows is joined with himself
as $$
begin
  return query
  with trail as materialized (
    select u.* from private.audit_trail(p_user_id) u
  ), entries as (
    -- the entries of one operation are one charge
    select min(t.id) as id, sum(t.tokens)::bigint as tokens,
           (array_agg(t.grant_ids[cardinality(t.grant_ids)] order by t.id desc))[1] as grant_id,
           min(t.created_at) as created_at,
           min(t.id) <= coalesce(p_base.id, 0) as is_settled,
           bool_or(undone.id is not null) as is_undone
      from public.token_transactions t
      left join (
        select distinct later.original_id as id
          from public.token_transactions later
         where later.user_id = p_user_id and later.original_id is not null) undone on undone.id = t.id
     where t.user_id = p_user_id and t.entry_type in ('deduction', 'usage', 'grant')
     group by coalesce(t.usage_id::text, t.id::text)
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
         case when g.opened_with > g.expected then coalesce(used.first_at, p_opening.created_at) else g.granted_at end
    from private.grants_at_opening(p_user_id, p_opening) g
   cross join (select min(u.created_at) as first_at from private.old_use(p_user_id, p_opening) u) used
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
         e.tokens - u.tokens, abs(e.tokens - u.tokens), e.grant_id, e.is_settled, u.usage_id, e.id, e.created_at
    from trail u
    join entries e on e.id = u.transaction_id
   where u.copy_of is null and e.tokens <> u.tokens and not e.is_undone
  union all
  -- one operation, deducted twice
  select 'duplicate_usage', 'deducted_twice', 'used', e.tokens, abs(e.tokens), e.grant_id, e.is_settled,
         u.usage_id, e.id, e.created_at
    from trail u
    join entries e on e.id = u.transaction_id
   where u.copy_of is not null and e.tokens <> 0 and not e.is_undone
  union all
  -- one operation, written down twice and deducted once: the balance is right
  select 'duplicate_usage', 'recorded_twice', 'none', 0, abs(u.tokens), null,
         coalesce(p_base.entry_type <> 'opening_balance' and u.created_at <= p_base.created_at, false),
         u.usage_id, null, u.created_at
    from trail u
   where u.copy_of is not null and u.transaction_id is null and u.tokens <> 0
  union all
  -- a usage row that nothing was booked for
  select case when u.tokens < 0 then 'balance_higher' else 'balance_lower' end,
         case when u.is_operation then 'used_and_not_deducted' else 'adjusted_and_not_booked' end,
         case when u.is_operation then 'used' when u.tokens > 0 then 'admin_granted' else 'admin_deducted' end,
         -u.tokens, abs(u.tokens), case when u.tokens < 0 then held.grant_id end,
         coalesce(p_base.entry_type <> 'opening_balance' and u.created_at <= p_base.created_at, false),
         u.usage_id, null, u.created_at
    from trail u
    left join lateral (
      -- it would have been taken from the first grant that was open then
      select b.id as grant_id from public.token_balances b
       where b.user_id = p_user_id and b.created_at <= u.created_at and (b.expires_at > u.created_at) is not false
       order by b.priority, b.granted_at, b.id limit 1) held on true
   where u.copy_of is null and u.transaction_id is null and u.tokens <> 0
     and u.created_at > coalesce(p_opening.created_at, '-infinity');
end
$$;
comment on function private.token_differences(uuid, public.token_transactions, public.token_transactions) is
  'Where a user''s ledger and audit trail differ: by how many tokens, why, in which grant, and whether a repair has settled it.';
revoke all on function private.token_differences(uuid, public.token_transactions, public.token_transactions) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_functions/find_token_discrepancies.sql

/*
 * Users whose balance or cost is not what the records say, the largest difference first: everyone, or the
 * users after p_after up to p_until, so that a large database is gone through in pieces. A finding counts
 * when it is of more than p_threshold tokens, a cost when it is a cent or more. One snapshot.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden, invalid_amount.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create or replace function private.find_token_discrepancies(
  p_threshold bigint,
  p_after uuid,
  p_until uuid
)
returns table (
  user_id uuid, email text, current_remaining bigint, expected_remaining bigint, remaining_difference bigint,
  current_used bigint, calculated_used bigint, used_difference bigint,
  current_cost numeric, calculated_cost numeric, cost_difference numeric,
  since timestamptz, scenarios text[], findings jsonb
)
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  perform private.authorize_operator();
  if p_threshold is null or p_threshold < 0 then
    perform private.refuse('invalid_amount', '{"field": "p_threshold", "rule": "a whole number of tokens, 0 or more"}');
  end if;
  return query
  select u.user_id, au.email::text,
         (r.answer ->> 'current_remaining')::bigint, (r.answer ->> 'expected_remaining')::bigint,
         (r.answer ->> 'remaining_difference')::bigint,
         (r.answer ->> 'current_used')::bigint, (r.answer ->> 'calculated_used')::bigint, (r.answer ->> 'used_difference')::bigint,
         (r.answer ->> 'current_cost')::numeric, (r.answer ->> 'calculated_cost')::numeric, (r.answer ->> 'cost_difference')::numeric,
         (r.answer ->> 'since')::timestamptz, counted.scenarios, counted.findings
    from (
      select a.user_id from public.token_accounts a
       where (p_after is null or a.user_id > p_after) and (p_until is null or a.user_id <= p_until)
      union
      select t.user_id from public.token_usage t -- whom something was written down for, and no account made
       where (p_after is null or t.user_id > p_after) and (p_until is null or t.user_id <= p_until)
         and not exists (select from public.token_accounts a where a.user_id = t.user_id)
    ) u
   cross join lateral (select private.reconcile(u.user_id) as answer offset 0) r
   cross join lateral (
      select array_agg(distinct f.finding ->> 'scenario') as scenarios,
             jsonb_agg(f.finding order by (f.finding ->> 'tokens')::bigint desc, f.finding ->> 'scenario') as findings
        from jsonb_array_elements(r.answer -> 'findings') f (finding)
       where (f.finding ->> 'tokens')::bigint > p_threshold or f.finding ? 'cents') counted
    left join auth.users au on au.id = u.user_id
   where counted.findings is not null
   order by abs((r.answer ->> 'remaining_difference')::bigint) desc, abs((r.answer ->> 'used_difference')::bigint) desc, u.user_id;
end
$$;
comment on function private.find_token_discrepancies(bigint, uuid, uuid) is 'See public.find_token_discrepancies.';
revoke all on function private.find_token_discrepancies(bigint, uuid, uuid) from public, anon, authenticated, service_role;
grant execute on function private.find_token_discrepancies(bigint, uuid, uuid) to authenticated, service_role;

create or replace function public.find_token_discrepancies(
  p_threshold bigint default 100,
  p_after uuid default null,
  p_until uuid default null
)
returns table (
  user_id uuid, email text, current_remaining bigint, expected_remaining bigint, remaining_difference bigint,
  current_used bigint, calculated_used bigint, used_difference bigint,
  current_cost numeric, calculated_cost numeric, cost_difference numeric,
  since timestamptz, scenarios text[], findings jsonb
)
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  return query select * from private.find_token_discrepancies(p_threshold, p_after, p_until);
end
$$;
comment on function public.find_token_discrepancies(bigint, uuid, uuid) is
  'Users whose balance or cost is not what the records say, the largest difference first. For an admin or the server. p_threshold leaves out what is of so many tokens or fewer; a cost counts from one cent on. Everyone, or the users after p_after up to p_until, so that a large database is gone through in pieces. Returns user_id, email, the figures of reconcile_user_token_balance (costs in cents, differences positive where the books have more), since, scenarios and findings. Errors: invalid_amount, not_authenticated, forbidden.';
revoke all on function public.find_token_discrepancies(bigint, uuid, uuid) from public, anon, authenticated, service_role;
grant execute on function public.find_token_discrepancies(bigint, uuid, uuid) to authenticated, service_role;

-- from supabase/schemas/40_functions/reconcile_user_token_balance.sql

/*
 * Whether a user's balance is what the records say it should be, and if not, since when, by how much, and
 * which of the known scenarios it is. See docs/guides/reconciliation.md.
 * Caller: an admin, service_role.   Locks: nothing.
 * Returns {user_id, current_remaining, current_used, current_cost, calculated_used, calculated_cost,
 * expected_remaining, remaining_difference, used_difference, cost_difference, since, formula,
 * counters_before_the_books, last_transaction_id, findings: [{scenario, cause, tokens, off, is_repairable,
 * since, advice, evidence, cents?}]}; costs in cents; differences positive where the books have more.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create or replace function private.reconcile_user_token_balance(p_user_id uuid)
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  perform private.authorize(p_user_id, p_self_may => false);
  perform private.require_user(p_user_id, 'service');
  return private.reconcile(p_user_id);
end
$$;
comment on function private.reconcile_user_token_balance(uuid) is 'See public.reconcile_user_token_balance.';
revoke all on function private.reconcile_user_token_balance(uuid) from public, anon, authenticated, service_role;
grant execute on function private.reconcile_user_token_balance(uuid) to authenticated, service_role;

create or replace function public.reconcile_user_token_balance(p_user_id uuid)
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  return private.reconcile_user_token_balance(p_user_id);
end
$$;
comment on function public.reconcile_user_token_balance(uuid) is
  'Compares a user''s books with his audit trail (token_usage), and what lies before the books with the old records. For an admin or the server. Returns {user_id, current_remaining, current_used, current_cost (cents), calculated_used, calculated_cost, expected_remaining, remaining_difference, used_difference, cost_difference (positive: the books have more), since, formula (the lines of expected_remaining: start + granted + admin_granted - tokens_used - admin_deducted - expired - clawed_back + other - reserved), counters_before_the_books, last_transaction_id, findings: [{scenario, cause, tokens, off, is_repairable, since, advice, evidence, cents (of cost_mismatch)}]}. scenario is balance_higher, balance_lower, cost_mismatch, no_usage_records, negative_balance, failed_operations_counted or duplicate_usage. An adjustment whose reason begins with "reconciliation" is a repair and settles what was before it. Errors: invalid_user_id, user_not_found, not_authenticated, forbidden.';
revoke all on function public.reconcile_user_token_balance(uuid) from public, anon, authenticated, service_role;
grant execute on function public.reconcile_user_token_balance(uuid) to authenticated, service_role;
