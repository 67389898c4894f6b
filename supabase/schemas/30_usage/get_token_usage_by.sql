/*
 * What was used, by hour, day, week, month or all together (UTC, whole ones), and within that by model, action or member:
 * of a user, what they did as a member of a team among it; or of everyone.
 * A report adds up at most a portion of uses itself (usage_rows of tokenbook.limits). Where there are more, they are
 * added up in tokenbook.usage_totals, a portion by each report; until that has come far enough the answer is busy.
 * Users are not told what it cost.
 * Caller: the user for themself (p_user_id left out), an admin, service_role; everyone's: an admin, service_role.
 * Locks: nothing that a use needs.   Errors: not_authenticated, forbidden, invalid_user_id, invalid_report, user_not_found, busy,
 * read_only.   Keeps: I11.
 */
-- Security definer: an admin reads other users' rows, and callers have no write access to the totals.
create function tokenbook.get_token_usage_by(
  p_bucket text default 'day',
  p_by text default 'none',
  p_from timestamptz default null,
  p_to timestamptz default null,
  p_user_id uuid default tokenbook.caller_id(),
  p_for_everyone boolean default false,
  p_cents_per_million_tokens numeric default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC' -- where hours and days begin
set plan_cache_mode = force_generic_plan -- or a user's uses are looked for among everyone's of that time (decision 27)
as $$
declare
  c_uses constant integer := tokenbook.limits() -> 'usage_rows';
  c_totals constant integer := tokenbook.limits() -> 'report_totals';
  c_rows constant integer := tokenbook.limits() -> 'report_rows';
  c_days constant integer := case p_bucket when 'hour' then 31 else 400 end;
  v_actor_role text;
  v_user_id uuid := p_user_id;
  v_span constant text := case p_bucket when 'hour' then 'hour' else 'day' end;
  v_unit constant text := case p_bucket when 'all' then 'day' else p_bucket end;
  v_from timestamptz;
  v_to timestamptz;
  v_fault jsonb;
  v_counted_until timestamptz;
  v_many bigint;
  v_rows jsonb;
begin
  -- validate
  if p_for_everyone then
    v_actor_role := (tokenbook.authorize_operator()).actor_role;
    v_user_id := '00000000-0000-0000-0000-000000000000';
  else
    v_actor_role := (tokenbook.authorize(p_user_id, p_self_may => true)).actor_role;
  end if;
  v_to := coalesce(p_to, clock_timestamp());
  v_from := coalesce(p_from, v_to - case p_bucket when 'hour' then interval '1 day' else interval '30 days' end);
  v_fault := case
    when p_bucket is null or p_bucket not in ('hour', 'day', 'week', 'month', 'all')
      then '{"field": "p_bucket", "rule": "hour, day, week, month or all"}'
    when p_by is null or p_by not in ('none', 'model', 'action', 'member')
      then '{"field": "p_by", "rule": "none, model, action or member"}'
    when p_for_everyone is null
      then '{"field": "p_for_everyone", "rule": "true or false"}'
    when p_for_everyone and p_by = 'member'
      then '{"field": "p_by", "rule": "none, model or action for everyone: members are of one user''s team"}'
    when not (v_from >= '1900-01-01' and v_from < v_to and v_to < '2200-01-01')
      then '{"field": "p_from", "rule": "before p_to, both of 1900 to 2199"}'
    when v_to - v_from > make_interval(days => c_days)
      then jsonb_build_object('field', 'p_from', 'rule', format('at most %s days before p_to', c_days))
    when p_cents_per_million_tokens is not null and v_actor_role = 'user'
      then '{"field": "p_cents_per_million_tokens", "rule": "left out by users: costs and margins are the project''s"}'
    when p_cents_per_million_tokens not between 0 and 1000000000000 or scale(p_cents_per_million_tokens) > 30 -- NaN is greater than any number
      then '{"field": "p_cents_per_million_tokens", "rule": "0 to 1000000000000 cents of at most 30 decimals"}'
  end;
  if v_fault is not null then
    perform tokenbook.refuse('invalid_report', v_fault);
  end if;
  if not p_for_everyone then
    perform tokenbook.require_user(p_user_id, v_actor_role);
  end if;
  v_from := date_trunc(v_unit, v_from);
  if date_trunc(v_unit, v_to) < v_to then
    v_to := date_trunc(v_unit, v_to) + ('1 ' || v_unit)::interval;
  end if;

  -- what is not added up yet
  for nth in 1 .. 2 loop
    select greatest(v_from, m.counted_until) into v_counted_until from tokenbook.usage_marks m where m.user_id = v_user_id;
    select count(*) into v_many
      from (
        select 1 from tokenbook.usage_between(v_user_id, coalesce(v_counted_until, v_from), v_to) u
         limit c_uses + 1) uses;
    exit when v_many <= c_uses / 2 and nth = 1 or current_setting('transaction_read_only')::boolean;
    if nth = 1 then
      perform tokenbook.count_usage(v_user_id);
    end if;
  end loop;
  if v_many > c_uses and current_setting('transaction_read_only')::boolean then
    perform tokenbook.refuse('read_only', '{}');
  elsif v_many > c_uses then
    return tokenbook.answer_busy();
  end if;
  select count(*) into v_many
    from (
      select 1 from tokenbook.usage_totals t
       where t.user_id = v_user_id and t.span = v_span and t.starts_at >= v_from and t.starts_at < v_to
       limit c_totals + 1) totals;
  if v_many > c_totals then
    perform tokenbook.refuse('invalid_report', jsonb_build_object(
      'field', 'p_from', 'rule', 'closer to p_to: there is more in that time than one report adds up'));
  end if;

  -- answer: how far the totals go, the totals and the rest, all of one moment
  with mark as (
    select coalesce((select m.counted_until from tokenbook.usage_marks m where m.user_id = v_user_id), '-infinity') as counted_until
  ), parts as (
    select t.starts_at, t.action_type, nullif(t.model_used, '') as model_used,
           nullif(t.member_id, '00000000-0000-0000-0000-000000000000') as member_id, t.uses, t.failed_uses, t.tokens, t.tokens_uncovered,
           t.input_tokens, t.output_tokens, t.cached_tokens, t.reasoning_tokens, t.images, t.seconds, t.cost_cents,
           t.uses_without_cost
      from tokenbook.usage_totals t
     where t.user_id = v_user_id and t.span = v_span and t.starts_at >= v_from and t.starts_at < v_to
    union all
    select u.starts_at, u.action_type, nullif(u.model_used, ''),
           nullif(u.member_id, '00000000-0000-0000-0000-000000000000'), u.uses, u.failed_uses, u.tokens, u.tokens_uncovered,
           u.input_tokens, u.output_tokens, u.cached_tokens, u.reasoning_tokens, u.images, u.seconds, u.cost_cents,
           u.uses_without_cost
      from mark m
     cross join lateral tokenbook.usage_between(v_user_id, greatest(v_from, m.counted_until), v_to) u -- @each-use-once
  ), sums as (
    select case when p_bucket = 'all' then v_from else date_trunc(v_unit, p.starts_at) end as starts_at,
           case when p_by = 'model' then p.model_used when p_by = 'member' then p.member_id::text when p_by = 'action' then p.action_type end as name,
           sum(p.uses) as uses, sum(p.failed_uses) as failed_uses, sum(p.tokens) as tokens,
           sum(p.tokens_uncovered) as tokens_uncovered, coalesce(sum(p.input_tokens), 0) as input_tokens,
           coalesce(sum(p.output_tokens), 0) as output_tokens, coalesce(sum(p.cached_tokens), 0) as cached_tokens,
           coalesce(sum(p.reasoning_tokens), 0) as reasoning_tokens, coalesce(sum(p.images), 0) as images,
           coalesce(sum(p.seconds), 0) as seconds, coalesce(sum(p.cost_cents), 0) as cost_cents,
           sum(p.uses_without_cost) as uses_without_cost
      from parts p
     group by 1, 2
     order by 1, tokens desc, 2
     limit c_rows + 1
  )
  select count(*),
         coalesce(jsonb_agg(
           jsonb_build_object(
             'starts_at', s.starts_at, 'uses', s.uses, 'failed_uses', s.failed_uses, 'tokens', s.tokens,
             'tokens_uncovered', s.tokens_uncovered, 'input_tokens', s.input_tokens, 'output_tokens', s.output_tokens,
             'cached_tokens', s.cached_tokens, 'reasoning_tokens', s.reasoning_tokens, 'images', s.images, 'seconds', s.seconds)
           || case p_by when 'none' then '{}'
                        else jsonb_build_object(case p_by when 'model' then 'model' when 'action' then 'action_type' else 'member_id' end, s.name) end
           || case v_actor_role when 'user' then '{}'
                else jsonb_build_object('cost_cents', s.cost_cents, 'uses_without_cost', s.uses_without_cost) end
           || case when p_cents_per_million_tokens is null then '{}'
                else jsonb_build_object(
                  'worth_cents', trim_scale(s.tokens * p_cents_per_million_tokens / 1000000),
                  'margin_cents', trim_scale(s.tokens * p_cents_per_million_tokens / 1000000 - s.cost_cents)) end
           order by s.starts_at, s.tokens desc, s.name), '[]')
    into v_many, v_rows
    from sums s;
  if v_many > c_rows then
    perform tokenbook.refuse('invalid_report', jsonb_build_object(
      'field', 'p_from', 'rule', format('closer to p_to, or p_bucket wider: a report has at most %s rows', c_rows)));
  end if;
  return jsonb_build_object('bucket', p_bucket, 'by', p_by, 'from', v_from, 'to', v_to, 'rows', v_rows);
end
$$;
comment on function tokenbook.get_token_usage_by is
  'What was used from p_from to p_to, in whole buckets (p_bucket hour, day, week, month, all; UTC), and in each by model, action or member (p_by; none: together). For the user themself (leave p_user_id out), an admin, or the server; of everyone (p_for_everyone true) an admin or the server. Left out: the last day by hour, else the last 30 days; at most 31 days by hour, 400 days else, and 5000 rows. Corrections by an admin are no use, and refunds take nothing back from it. Returns {bucket, by, from, to, rows: [{starts_at, model | action_type | member_id, uses, failed_uses, tokens (deducted), tokens_uncovered, input_tokens, output_tokens, cached_tokens, reasoning_tokens, images, seconds}]}, and for an admin or the server cost_cents (failed uses too, as far as known), uses_without_cost, and with p_cents_per_million_tokens worth_cents (tokens at that price) and margin_cents (less the known cost). busy: more is to be added up than one call does; ask again. read_only: the same, and a read replica was asked; ask the primary. Errors: invalid_report, invalid_user_id, user_not_found, forbidden, busy, read_only.';
