/*
 * The places of a user's grants in the burn order expiring_first, where each runs out when p_until says ('infinity':
 * never). The arrays have an item a grant.
 * Caller: internal, functions that go through history.   Keeps: I8.
 */
create function tokenbook.places_by_expiry(
  p_ids uuid[],
  p_priorities smallint[],
  p_granted_at timestamptz[],
  p_until timestamptz[]
)
returns integer[]
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return array(
    select g.nth
      from unnest(p_ids, p_priorities, p_granted_at, p_until) with ordinality as g (id, priority, granted_at, until, nth)
     order by tokenbook.burn_key(g.priority, g.granted_at, nullif(g.until, 'infinity'), g.id, true));
end
$$;
comment on function tokenbook.places_by_expiry is
  'The places of a user''s grants in the burn order expiring_first, by when each runs out.';
