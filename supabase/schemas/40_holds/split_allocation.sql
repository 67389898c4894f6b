/*
 * Takes so many tokens from the front of an allocation, of the grants that pay for what they are for, and says what is
 * taken and what is left, both in its order. Less is taken where less pays.
 * Caller: internal.
 */
create function tokenbook.split_allocation(
  p_grant_ids uuid[],
  p_grant_tokens bigint[],
  p_pays boolean[],
  p_tokens bigint,
  out grant_ids uuid[],
  out grant_tokens bigint[],
  out left_ids uuid[],
  out left_tokens bigint[]
)
returns record
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  select coalesce(array_agg(part.grant_id order by part.nth) filter (where part.taken > 0), '{}'),
         coalesce(array_agg(part.taken order by part.nth) filter (where part.taken > 0), '{}'),
         coalesce(array_agg(part.grant_id order by part.nth) filter (where part.taken < part.tokens), '{}'),
         coalesce(array_agg(part.tokens - part.taken order by part.nth) filter (where part.taken < part.tokens), '{}')
    into grant_ids, grant_tokens, left_ids, left_tokens
    from (
      select p.grant_id, p.tokens, p.nth,
             case when p.pays then greatest(0, least(p.tokens,
               p_tokens - (sum(p.tokens) filter (where p.pays) over (order by p.nth) - p.tokens)::bigint)) else 0 end as taken
        from unnest(p_grant_ids, p_grant_tokens, p_pays) with ordinality as p (grant_id, tokens, pays, nth)) part;
end
$$;
comment on function tokenbook.split_allocation is
  'Takes tokens from the front of an allocation, of the grants in it that pay for it: what is taken and what is left.';

/*
 * Puts parts of an allocation together again, each grant once, in the order of p_order: that of the hold which they
 * all came from.
 * Caller: internal.
 */
create function tokenbook.merge_allocations(
  p_grant_ids uuid[],
  p_grant_tokens bigint[],
  p_more_ids uuid[],
  p_more_tokens bigint[],
  p_order uuid[],
  out grant_ids uuid[],
  out grant_tokens bigint[]
)
returns record
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  select coalesce(array_agg(m.grant_id order by m.place), '{}'), coalesce(array_agg(m.tokens order by m.place), '{}')
    into grant_ids, grant_tokens
    from (
      select part.grant_id, sum(part.tokens)::bigint as tokens, array_position(p_order, part.grant_id) as place
        from (
          select p.* from unnest(p_grant_ids, p_grant_tokens) as p (grant_id, tokens)
          union all
          select p.* from unnest(p_more_ids, p_more_tokens) as p (grant_id, tokens)) part
       group by part.grant_id) m;
end
$$;
comment on function tokenbook.merge_allocations is
  'Puts two allocations together, each grant once, in the order given.';
