/*
 * The next uses that can be archived, a line of JSON each, in the order of time: after the one of p_at, p_user_id and
 * p_id, and before p_before.
 * Caller: npx tokenbook archive; the owner of the database.   Locks: nothing.
 */
create function tokenbook.uses_to_archive(
  p_before timestamptz, p_at timestamptz, p_user_id uuid, p_id uuid, p_limit integer
)
returns setof text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set timezone = 'UTC' -- in which moments are written
set plan_cache_mode = force_custom_plan -- so that only partitions of that time are read
as $$
begin
  return query
  select row_to_json(u)::text
    from public.token_usage u
   cross join lateral tokenbook.settled_entry(u) t
   where u.created_at < p_before and u.created_at >= p_at
     and (u.created_at, u.user_id, u.id) > (p_at, p_user_id, p_id)
   order by u.created_at, u.user_id, u.id
   limit p_limit;
end
$$;
comment on function tokenbook.uses_to_archive is
  'The next uses that can be archived, a line of JSON each, in the order of time.';
