/*
 * The uses of a user within a time, for the reports: on their account, and as a member of a team on the account of the
 * payer; or everyone's (all zeros). A use by itself, or those of an hour together that are archived. What an admin
 * corrected is no use.
 * No search_path of its own, so that Postgres inlines it into the calling statement (decision 22).
 * Caller: internal.
 */
create function tokenbook.usage_between(p_user_id uuid, p_from timestamptz, p_to timestamptz)
returns setof tokenbook.archived_usage
language sql
stable
security invoker
as $$
  select v.* from (
    select u.user_id, u.created_at, u.action_type, coalesce(u.model_used, ''),
           coalesce(u.member_id, '00000000-0000-0000-0000-000000000000'), 1::bigint, (not u.success)::integer::bigint,
           case when u.success then u.tokens_used - u.tokens_uncovered else 0 end,
           case when u.success then u.tokens_uncovered else 0 end,
           coalesce(u.input_tokens, 0), coalesce(u.output_tokens, 0), coalesce(u.cached_tokens, 0),
           coalesce(u.reasoning_tokens, 0), coalesce(u.images, 0)::bigint, coalesce(u.seconds, 0),
           coalesce(u.cost_estimate, 0), (u.cost_estimate is null)::integer::bigint,
           case when u.success then coalesce(u.cost_estimate, 0) else 0 end
      from (
        select x.* from public.token_usage x
         where p_user_id = '00000000-0000-0000-0000-000000000000'
           and x.created_at >= p_from and x.created_at < p_to
        union all
        (select x.* from public.token_usage x
          where p_user_id <> '00000000-0000-0000-0000-000000000000'
            and x.user_id = p_user_id and x.created_at >= p_from and x.created_at < p_to
          order by x.created_at) -- or all of the user's may be read, by another index, to find those of that time
        union all
        select x.* from public.token_usage x
         where p_user_id <> '00000000-0000-0000-0000-000000000000'
           and x.member_id = p_user_id and x.created_at >= p_from and x.created_at < p_to) u
     where u.action_type <> all (tokenbook.reserved_action_types())
    union all
    select a.* from tokenbook.archived_usage a
     where p_user_id = '00000000-0000-0000-0000-000000000000'
       and a.starts_at >= p_from and a.starts_at < p_to
    union all
    select a.* from tokenbook.archived_usage a
     where p_user_id <> '00000000-0000-0000-0000-000000000000'
       and a.user_id = p_user_id and a.starts_at >= p_from and a.starts_at < p_to -- @archived-uses-count
    union all
    select a.* from tokenbook.archived_usage a
     where p_user_id <> '00000000-0000-0000-0000-000000000000'
       and a.member_id <> '00000000-0000-0000-0000-000000000000'
       and a.member_id = p_user_id and a.starts_at >= p_from and a.starts_at < p_to) v (user_id, used_at)
   where p_user_id <> '00000000-0000-0000-0000-000000000000'
      or not exists ( -- where they came with a move next, they were counted elsewhere; where they left next, here
        select 1 from tokenbook.moves m
         where m.user_id = v.user_id and m.started_at > v.used_at
        having min(m.started_at) filter (where m.direction = 'in')
             < coalesce(min(m.started_at) filter (where m.direction = 'out' and m.phase = 'moved'), 'infinity')) -- @used-here-before
$$;
comment on function tokenbook.usage_between is
  'The uses of a user within a time, those as a member of a team among them; of everyone for all zeros; those of an hour together that are archived. Without an admin''s corrections.';
