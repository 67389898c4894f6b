/*
 * Reconciles a user's token balance with what was recorded, in six steps. See docs/guides/reconciliation.md.
 *
 * To be run as postgres, in psql (`psql "$DATABASE_URL" -f …`) or in the Supabase SQL editor, whole or step by
 * step: the editor shows the last result only, so select step 0 and the step you want, and run the selection.
 *
 * It runs on a project before the clean-up (counters on user_profiles) and after it (the books). Nothing is
 * changed, but in step 5, and there only when step 0 asks for it.
 */

-- Step 0: whom, and what -----------------------------------------------------------------------------

select set_config('reconcile.user_id', 'USER_ID_HERE', false) as user_id,
       -- tokens granted at first, such as 5000000 (annual) or 600000 (28 days), where no record has it; '' = what the records say.
       -- Before the clean-up only: the books know their grants.
       set_config('reconcile.initial_grant', '', false) as initial_grant,
       -- 'yes' makes step 5 repair; anything else makes it a dry run
       set_config('reconcile.repair', 'no', false) as repair,
       -- step 6 leaves out differences of so many tokens or fewer
       set_config('reconcile.threshold', '100', false) as threshold;

-- What the steps share. Temporary: gone when you disconnect.
create or replace function pg_temp.chosen_user() returns uuid language plpgsql as $$
begin
  return current_setting('reconcile.user_id')::uuid;
exception
  when invalid_text_representation then
    raise exception 'Put the user''s id in place of USER_ID_HERE, in step 0.';
end
$$;

create or replace function pg_temp.has_books() returns boolean language plpgsql as $$
declare
  v_has_counters boolean := exists (
    select from pg_attribute a
     where a.attrelid = to_regclass('public.user_profiles') and a.attname = 'vibe_assistant_tokens_remaining' and not a.attisdropped);
begin
  if to_regprocedure('public.reconcile_user_token_balance(uuid)') is not null then
    return true;
  elsif v_has_counters then
    return false;
  end if;
  raise exception 'Here are neither counters on user_profiles nor Tokenbook''s reconciliation. Apply the migrations first.';
end
$$;

-- One row a user: what is there, what the records add up to, and what is wrong. Cost in dollars.
create or replace function pg_temp.reconciled(p_user_id uuid default null, p_threshold bigint default 0)
returns table (
  user_id uuid, current_remaining bigint, current_used bigint, current_cost numeric,
  calculated_used bigint, calculated_cost numeric, expected_remaining bigint,
  remaining_discrepancy bigint, used_discrepancy bigint, cost_discrepancy numeric,
  since timestamptz, formula jsonb, findings jsonb)
language plpgsql as $$
#variable_conflict use_column
declare
  v_initial bigint := nullif(current_setting('reconcile.initial_grant'), '')::bigint;
begin
  if pg_temp.has_books() then
    return query
    select (r ->> 'user_id')::uuid, (r ->> 'current_remaining')::bigint, (r ->> 'current_used')::bigint, (r ->> 'current_cost')::numeric / 100,
           (r ->> 'calculated_used')::bigint, (r ->> 'calculated_cost')::numeric / 100, (r ->> 'expected_remaining')::bigint,
           (r ->> 'remaining_difference')::bigint, (r ->> 'used_difference')::bigint, (r ->> 'cost_difference')::numeric / 100,
           (r ->> 'since')::timestamptz, r -> 'formula', r -> 'findings'
      from (
        select public.reconcile_user_token_balance(p_user_id) as r where p_user_id is not null
        union all
        select to_jsonb(d) from public.find_token_discrepancies(p_threshold) d where p_user_id is null) a;
    return;
  end if;

  -- before the clean-up: the grants among the transactions, where the project has them
  create temporary table if not exists reconcile_grants (user_id uuid, tokens bigint, granted_at timestamptz);
  truncate reconcile_grants;
  if to_regclass('public.token_transactions') is not null then
    insert into reconcile_grants
    select t.user_id, t.tokens_used, t.created_at
      from public.token_transactions t
     where (p_user_id is null or t.user_id = p_user_id) and t.tokens_used > 0
       and t.action_type in ('subscription_grant', 'renewal_grant', 'trial_grant', 'token_pack_purchase', 'pack_purchase', 'admin_grant');
  end if;

  return query
  with profiles as (
    select p.user_id, max(p.vibe_assistant_tokens_remaining)::bigint as remaining,
           max(p.vibe_assistant_tokens_used)::bigint as used, max(p.vibe_assistant_total_cost)::numeric as cost
      from public.user_profiles p
     where p.user_id is not null and (p_user_id is null or p.user_id = p_user_id)
     group by p.user_id
  ), usage as (
    -- a row that equals another in everything but its id, within the same second, is a copy of it
    select u.user_id, u.action_type, abs(u.tokens_used)::bigint as tokens, coalesce(u.success, true) as success,
           coalesce(u.cost_estimate, 0)::numeric as cents, u.created_at,
           u.action_type not in ('admin_grant', 'admin_deduct', 'subscription_grant', 'renewal_grant', 'trial_grant',
                                 'token_pack_purchase', 'pack_purchase') as is_operation,
           u.tokens_used <> 0 and row_number() over (
             partition by u.user_id, u.action_type, u.model_used, u.tokens_used, u.input_tokens, u.output_tokens, u.cost_estimate,
                          u.success, u.error_message, u.metadata ->> 'request_id', date_trunc('second', u.created_at)
             order by u.created_at, u.id) > 1 as is_copy
      from public.token_usage u
     where u.user_id is not null and (p_user_id is null or u.user_id = p_user_id)
  ), used as (
    select u.user_id,
           coalesce(sum(u.tokens) filter (where u.is_operation and u.success and not u.is_copy), 0)::bigint as tokens,
           coalesce(sum(u.cents) filter (where u.is_operation and u.success and not u.is_copy), 0) / 100 as cost,
           coalesce(sum(u.tokens) filter (where u.is_operation and not u.success), 0)::bigint as failed,
           min(u.created_at) filter (where u.is_operation and not u.success) as failed_since,
           coalesce(sum(u.tokens) filter (where u.is_operation and u.success and u.is_copy), 0)::bigint as copied,
           min(u.created_at) filter (where u.is_operation and u.is_copy) as copied_since,
           coalesce(sum(u.tokens) filter (where u.action_type = 'admin_deduct' and not u.is_copy), 0)::bigint as deducted,
           coalesce(sum(u.tokens) filter (
             where u.action_type = 'admin_grant' and not u.is_copy
               and not exists (
                 select from reconcile_grants g
                  where g.user_id = u.user_id and g.tokens = u.tokens
                    and g.granted_at between u.created_at - interval '1 minute' and u.created_at + interval '1 minute')), 0)::bigint as granted,
           count(*) filter (where u.is_operation) as operations
      from usage u
     group by u.user_id
  ), sums as (
    select p.user_id, p.remaining, p.used as counter_used, p.cost as counter_cost,
           coalesce(u.tokens, 0) as used, coalesce(u.cost, 0) as cost, coalesce(u.failed, 0) as failed, u.failed_since,
           coalesce(u.copied, 0) as copied, u.copied_since, coalesce(u.operations, 0) as operations,
           coalesce(case when p_user_id is not null then v_initial end, (
             select sum(g.tokens) from reconcile_grants g where g.user_id = p.user_id), 0)::bigint as initial,
           coalesce(u.granted, 0) as granted, coalesce(u.deducted, 0) as deducted
      from profiles p
      left join used u on u.user_id = p.user_id
  ), expected as (
    select s.*, s.initial + s.granted - s.used - s.deducted as expected,
           s.remaining - (s.initial + s.granted - s.used - s.deducted) as off
      from sums s
  ), causes as (
    -- of what is missing: first what failed operations took, then what was taken twice
    select e.*, least(greatest(-e.off, 0), e.failed) as by_failed,
           least(greatest(-e.off, 0) - least(greatest(-e.off, 0), e.failed), e.copied) as by_copies
      from expected e
  )
  select c.user_id, c.remaining, c.counter_used, c.counter_cost, c.used, c.cost, c.expected,
         c.off, c.counter_used - c.used, c.counter_cost - c.cost,
         case when c.by_failed > 0 then c.failed_since when c.by_copies > 0 then c.copied_since end,
         jsonb_build_object('start', 0, 'granted', c.initial, 'admin_granted', c.granted, 'tokens_used', c.used, 'admin_deducted', c.deducted),
         f.findings
    from causes c
   cross join lateral (
     select coalesce(jsonb_agg(jsonb_build_object('scenario', x.scenario, 'tokens', x.tokens, 'advice', x.advice) order by x.tokens desc, x.scenario), '[]') as findings
       from (values
         ('balance_higher', c.off, 'Review token_usage for gaps and for operations from before tokens were tracked. Then deduct the difference.'),
         ('balance_lower', -c.off - c.by_failed - c.by_copies, 'Review adjustments made by hand, and grants. Then grant the difference.'),
         ('failed_operations_counted', c.by_failed, 'A failed operation deducts nothing. Grant back what these took.'),
         ('duplicate_usage', case when c.off < 0 then c.by_copies else c.copied end, 'Duplicate entries in token_usage. Grant back what was deducted twice.'),
         ('cost_mismatch', case when abs(c.counter_cost - c.cost) >= 0.01 and c.operations > 0 then 1 else 0 end,
           'Review how costs were calculated and whether model prices have changed; token_usage is the record.'),
         ('no_usage_records', case when c.operations = 0 then c.counter_used else 0 end,
           'Check whether the user has any AI operations at all: they may have started before tokens were tracked. Then set the balance by hand, from their membership tier.'),
         ('negative_balance', -least(c.expected, c.remaining), 'Check for calculation errors, then grant tokens to bring the balance positive.')
       ) as x (scenario, tokens, advice)
      where x.tokens > 0) f
   where p_user_id is not null
      or abs(c.off) > p_threshold or abs(c.counter_used - c.used) > p_threshold or abs(c.counter_cost - c.cost) >= 0.01;
end
$$;

-- Step 1: the balance that is there, and what the records add up to ------------------------------------

select r.user_id, r.current_remaining, r.expected_remaining, r.remaining_discrepancy,
       r.current_used, r.calculated_used, r.used_discrepancy,
       round(r.current_cost, 4) as current_cost, round(r.calculated_cost, 4) as calculated_cost, round(r.cost_discrepancy, 4) as cost_discrepancy,
       r.since,
       coalesce((select string_agg(f ->> 'scenario', ', ' order by f ->> 'scenario') from jsonb_array_elements(r.findings) f), 'none') as findings,
       (select string_agg(f ->> 'advice', ' ' order by f ->> 'scenario') from jsonb_array_elements(r.findings) f) as advice
  from pg_temp.reconciled(pg_temp.chosen_user()) r;

-- Step 2: usage by action and model --------------------------------------------------------------------

select u.action_type, u.model_used,
       count(*) filter (where u.success is not false) as succeeded,
       count(*) filter (where u.success is false) as failed,
       coalesce(sum(u.tokens_used) filter (where u.success is not false), 0) as tokens_used,
       round(coalesce(sum(u.cost_estimate) filter (where u.success is not false), 0)::numeric / 100, 4) as cost,
       min(u.created_at) as first_at, max(u.created_at) as last_at
  from public.token_usage u
 where u.user_id = pg_temp.chosen_user()
 group by u.action_type, u.model_used
 order by tokens_used desc, u.action_type, u.model_used;

-- Step 3: the last 50 operations -----------------------------------------------------------------------

select u.created_at, u.action_type, u.model_used, u.tokens_used, u.input_tokens, u.output_tokens,
       u.cost_estimate as cost_in_cents, u.success, u.error_message, u.metadata, u.id
  from public.token_usage u
 where u.user_id = pg_temp.chosen_user()
 order by u.created_at desc, u.id
 limit 50;

-- Step 4: what the balance should be, line by line ------------------------------------------------------

select l.line, l.tokens
  from pg_temp.reconciled(pg_temp.chosen_user()) r
 cross join lateral (values
   (1, 'settled by the last repair', nullif((r.formula ->> 'start')::bigint, 0)),
   (2, '+ initial grant', (r.formula ->> 'granted')::bigint),
   (3, '+ admin grants', (r.formula ->> 'admin_granted')::bigint),
   (4, '- tokens used', -(r.formula ->> 'tokens_used')::bigint),
   (5, '- admin deductions', -(r.formula ->> 'admin_deducted')::bigint),
   (6, '- expired', -(r.formula ->> 'expired')::bigint),
   (7, '- clawed back', -(r.formula ->> 'clawed_back')::bigint),
   (8, '+ other entries', nullif((r.formula ->> 'other')::bigint, 0)),
   (9, '- set aside', -nullif((r.formula ->> 'reserved')::bigint, 0)),
   (10, '= expected', r.expected_remaining),
   (11, 'current', r.current_remaining),
   (12, 'discrepancy', r.remaining_discrepancy)) as l (nth, line, tokens)
 where l.tokens is not null
 order by l.nth;

-- Step 5: repair (a dry run, unless step 0 says 'yes') ---------------------------------------------------

-- Before the clean-up: overwrites the counters, after copying the whole profile to tokenbook.reconciled_profiles.
-- After it nothing is overwritten: an adjustment with its sign is booked, which settles what was before it.
create or replace function pg_temp.repaired()
returns table (user_id uuid, what text, tokens_before bigint, tokens_after bigint) language plpgsql as $$
#variable_conflict use_column
declare
  v_asked boolean := current_setting('reconcile.repair') = 'yes';
  v_user_id uuid := pg_temp.chosen_user();
  v record;
  v_delta bigint;
  v_scenarios text;
  v_receipt jsonb;
begin
  perform set_config('reconcile.repair', 'no', false); -- once is enough
  if v_asked and not pg_temp.has_books() then
    -- what the app spends meanwhile waits, and is not overwritten
    perform from public.user_profiles p where p.user_id = v_user_id for update;
  end if;
  select r.* into v from pg_temp.reconciled(v_user_id) r;
  if v.user_id is null then
    return query select v_user_id, 'no such user', null::bigint, null::bigint;
    return;
  end if;

  if not pg_temp.has_books() then
    if v_asked then
      create schema if not exists tokenbook;
      create table if not exists tokenbook.reconciled_profiles (
        user_id uuid not null, profile jsonb not null, copied_at timestamptz not null default now());
      alter table tokenbook.reconciled_profiles enable row level security;
      revoke all on table tokenbook.reconciled_profiles from public, anon, authenticated, service_role;
      insert into tokenbook.reconciled_profiles (user_id, profile)
      select p.user_id, to_jsonb(p) from public.user_profiles p where p.user_id = v_user_id for update;
      update public.user_profiles p
         set vibe_assistant_tokens_remaining = greatest(v.expected_remaining, 0),
             vibe_assistant_tokens_used = v.calculated_used,
             vibe_assistant_total_cost = v.calculated_cost
       where p.user_id = v_user_id;
    end if;
    return query select v_user_id,
      case when v_asked then 'wrote the counters; the profile as it was is in tokenbook.reconciled_profiles'
           else 'dry run: would write remaining ' || greatest(v.expected_remaining, 0) || ', used ' || v.calculated_used
                || ', cost ' || round(v.calculated_cost, 4) end,
      v.current_remaining, greatest(v.expected_remaining, 0);
    return;
  end if;

  select -sum((f ->> 'off')::bigint), string_agg(f ->> 'scenario', ', ' order by f ->> 'scenario')
    into v_delta, v_scenarios
    from jsonb_array_elements(v.findings) f
   where (f ->> 'is_repairable')::boolean;
  v_delta := greatest(coalesce(v_delta, 0), -v.current_remaining); -- a balance is never below zero
  if exists (select from jsonb_array_elements(v.findings) f where f ->> 'cause' = 'account_differs_from_ledger') then
    return query select v_user_id, 'nothing: account and ledger differ, which no adjustment repairs; see verify_token_ledger',
      v.current_remaining, v.current_remaining;
  elsif v_delta = 0 then
    return query select v_user_id, 'nothing to book', v.current_remaining, v.current_remaining;
  elsif not v_asked then
    return query select v_user_id, format('dry run: would book %s tokens as "reconciliation: %s"', v_delta, v_scenarios),
      v.current_remaining, v.current_remaining + v_delta;
  else
    v_receipt := public.adjust_tokens(v_user_id, v_delta, 'reconciliation: ' || v_scenarios,
      -- the ledger as it was looked at: two who repair at once book it once
      'reconciliation-' || (select a.last_transaction_id from public.token_accounts a where a.user_id = v_user_id),
      jsonb_build_object('reconciliation', jsonb_build_object('difference', v.remaining_discrepancy, 'expected', v.expected_remaining)));
    return query select v_user_id,
      case when (v_receipt ->> 'success')::boolean then format('booked %s tokens as transaction %s', v_delta, v_receipt ->> 'transaction_id')
           else 'not booked: too few tokens' end,
      v.current_remaining, (v_receipt ->> 'tokens_remaining')::bigint;
  end if;
end
$$;

select r.user_id, r.what, r.tokens_before, r.tokens_after from pg_temp.repaired() r;

-- Step 6: everybody with a discrepancy, the worst first --------------------------------------------------

select r.user_id, u.email, r.current_remaining, r.expected_remaining, r.remaining_discrepancy, r.used_discrepancy,
       round(r.cost_discrepancy, 4) as cost_discrepancy, r.since,
       (select string_agg(f ->> 'scenario', ', ' order by f ->> 'scenario') from jsonb_array_elements(r.findings) f) as findings
  from pg_temp.reconciled(null, current_setting('reconcile.threshold')::bigint) r
  left join auth.users u on u.id = r.user_id
 order by abs(r.remaining_discrepancy) desc, abs(r.used_discrepancy) desc, r.user_id;
