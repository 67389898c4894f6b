/*
 * Adds the next uses to the totals that reports read: at most a portion (usage_rows of tokenbook.limits) of those that no
 * open transaction can add to any more. A call that finds another one counting does nothing.
 * p_user_id: of whom; all zeros: of everyone.
 * Caller: internal.   Locks: the mark, so that one call counts at a time.   Keeps: I11.
 */
create function tokenbook.count_usage(p_user_id uuid)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set timezone = 'UTC' -- where hours and days begin
set plan_cache_mode = force_generic_plan -- or a user's uses are looked for among everyone's of that time (decision 27)
as $$
declare
  c_portion constant integer := tokenbook.limits() -> 'usage_rows';
  v_is_everyone constant boolean := p_user_id = '00000000-0000-0000-0000-000000000000';
  v_mark tokenbook.usage_marks;
  v_snapshot pg_snapshot;
  v_until timestamptz;
begin
  insert into tokenbook.usage_marks (user_id) values (p_user_id) on conflict do nothing;
  select m.* into v_mark from tokenbook.usage_marks m where m.user_id = p_user_id for update skip locked;
  if not found then
    return;
  end if;

  -- close
  v_snapshot := pg_current_snapshot();
  if v_mark.closing_xid <= pg_snapshot_xmin(v_snapshot) then -- @open-transactions-are-awaited
    v_mark.closed_until := greatest(v_mark.closed_until, v_mark.closing_until);
    v_mark.closing_xid := null;
  elsif v_mark.closing_xid > pg_snapshot_xmax(v_snapshot) then -- restored on a server whose transaction ids are lower
    v_mark.closing_xid := null;
  end if;
  if v_mark.closing_xid is null then
    -- a minute: between reading the clock and having a number a transaction waits for nothing
    v_mark.closing_until := transaction_timestamp() - interval '1 minute';
    v_mark.closing_xid := pg_snapshot_xmax(v_snapshot);
  end if;

  -- count
  if v_mark.counted_until < v_mark.closed_until then
    -- the use at which the portion ends: one query for each index, so that neither sorts
    select coalesce(min(portion.ends_at) + interval '1 microsecond', v_mark.closed_until)
      into v_until
      from (
        (select u.created_at as ends_at from public.token_usage u
          where v_is_everyone
            and u.created_at >= v_mark.counted_until and u.created_at < v_mark.closed_until
          order by u.created_at offset c_portion - 1 limit 1)
        union all
        (select u.created_at from public.token_usage u
          where not v_is_everyone
            and u.user_id = p_user_id and u.created_at >= v_mark.counted_until and u.created_at < v_mark.closed_until
          order by u.created_at offset c_portion - 1 limit 1)
        union all
        (select u.created_at from public.token_usage u
          where not v_is_everyone
            and u.member_id = p_user_id and u.created_at >= v_mark.counted_until and u.created_at < v_mark.closed_until
          order by u.created_at offset c_portion - 1 limit 1)
        union all
        (select a.starts_at from tokenbook.archived_usage a
          where v_is_everyone and a.starts_at >= v_mark.counted_until and a.starts_at < v_mark.closed_until
          order by a.starts_at offset c_portion - 1 limit 1)
        union all
        (select a.starts_at from tokenbook.archived_usage a
          where not v_is_everyone
            and a.user_id = p_user_id and a.starts_at >= v_mark.counted_until and a.starts_at < v_mark.closed_until
          order by a.starts_at offset c_portion - 1 limit 1)
        union all
        (select a.starts_at from tokenbook.archived_usage a
          where not v_is_everyone and a.member_id <> '00000000-0000-0000-0000-000000000000'
            and a.member_id = p_user_id and a.starts_at >= v_mark.counted_until and a.starts_at < v_mark.closed_until
          order by a.starts_at offset c_portion - 1 limit 1)) portion;
    with hours as (
      select date_trunc('hour', u.starts_at) as starts_at, u.action_type, u.model_used,
             case when v_is_everyone then '00000000-0000-0000-0000-000000000000' else u.member_id end as member_id,
             sum(u.uses) as uses, sum(u.failed_uses) as failed_uses, sum(u.tokens) as tokens,
             sum(u.tokens_uncovered) as tokens_uncovered, sum(u.input_tokens) as input_tokens,
             sum(u.output_tokens) as output_tokens, sum(u.cached_tokens) as cached_tokens,
             sum(u.reasoning_tokens) as reasoning_tokens, sum(u.images) as images, sum(u.seconds) as seconds,
             sum(u.cost_cents) as cost_cents, sum(u.uses_without_cost) as uses_without_cost
        from tokenbook.usage_between(p_user_id, v_mark.counted_until, v_until) u
       group by 1, 2, 3, 4)
    insert into tokenbook.usage_totals as t
    select p_user_id, s.span, date_trunc(s.span, h.starts_at), h.action_type, h.model_used, h.member_id,
           sum(h.uses), sum(h.failed_uses), sum(h.tokens), sum(h.tokens_uncovered), sum(h.input_tokens),
           sum(h.output_tokens), sum(h.cached_tokens), sum(h.reasoning_tokens), sum(h.images), sum(h.seconds),
           sum(h.cost_cents), sum(h.uses_without_cost)
      from hours h
     cross join (values ('hour'), ('day')) as s (span)
     group by 1, 2, 3, 4, 5, 6
        on conflict on constraint usage_totals_pkey do update
       set uses = t.uses + excluded.uses,
           failed_uses = t.failed_uses + excluded.failed_uses,
           tokens = t.tokens + excluded.tokens,
           tokens_uncovered = t.tokens_uncovered + excluded.tokens_uncovered,
           input_tokens = t.input_tokens + excluded.input_tokens,
           output_tokens = t.output_tokens + excluded.output_tokens,
           cached_tokens = t.cached_tokens + excluded.cached_tokens,
           reasoning_tokens = t.reasoning_tokens + excluded.reasoning_tokens,
           images = t.images + excluded.images,
           seconds = t.seconds + excluded.seconds,
           cost_cents = t.cost_cents + excluded.cost_cents,
           uses_without_cost = t.uses_without_cost + excluded.uses_without_cost;
    v_mark.counted_until := v_until;
  end if;
  update tokenbook.usage_marks m
     set counted_until = v_mark.counted_until,
         closed_until = v_mark.closed_until,
         closing_until = v_mark.closing_until,
         closing_xid = v_mark.closing_xid
   where m.user_id = p_user_id;
end
$$;
comment on function tokenbook.count_usage is
  'Adds the next portion of a user''s uses, or of everyone''s (all zeros), to the totals that get_token_usage_by reads, as far as no open transaction can bring an older one.';
