/*
 * The uses of a user within a time, for the reports: on their account, and as a member of a team on the account of the
 * payer; or everyone's (all zeros). What an admin corrected is no use.
 * No search_path of its own, so that Postgres inlines it into the calling statement (decision 22).
 * Caller: internal.
 */
create function tokenbook.usage_between(p_user_id uuid, p_from timestamptz, p_to timestamptz)
returns setof public.token_usage
language sql
stable
security invoker
as $$
  select u.* from public.token_usage u
   where p_user_id = '00000000-0000-0000-0000-000000000000'
     and u.created_at >= p_from and u.created_at < p_to
     and u.action_type <> all (tokenbook.reserved_action_types())
     and not exists ( -- what came with a move was counted where it was used, which may be here, before they left
       select 1 from tokenbook.moves m
        where m.user_id = u.user_id and m.direction = 'in' and u.created_at < m.started_at
          and not exists (
            select 1 from tokenbook.moves o
             where o.user_id = u.user_id and o.direction = 'out' and o.phase = 'moved' -- @used-here-before
               and o.started_at > u.created_at and o.started_at < m.started_at))
  union all
  (select u.* from public.token_usage u
    where p_user_id <> '00000000-0000-0000-0000-000000000000'
      and u.user_id = p_user_id and u.created_at >= p_from and u.created_at < p_to
      and u.action_type <> all (tokenbook.reserved_action_types())
    order by u.created_at) -- or all of the user's may be read, by another index, to find those of that time
  union all
  select u.* from public.token_usage u
   where p_user_id <> '00000000-0000-0000-0000-000000000000'
     and u.member_id = p_user_id and u.created_at >= p_from and u.created_at < p_to
     and u.action_type <> all (tokenbook.reserved_action_types())
$$;
comment on function tokenbook.usage_between is
  'The uses of a user within a time, those as a member of a team among them; of everyone for all zeros. Without an admin''s corrections.';
