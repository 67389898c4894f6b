/*
 * The parts of an allocation that lie between two points of it, in order: of 30 from A and 20 from
 * B, what lies between 10 and 40 is 20 from A and 10 from B. A capture is the front of a hold;
 * what is released is its back, and so is what a refund gives back of a deduction.
 * Caller: internal.
 */
create function tokenbook.slice_allocations(
  p_grant_ids uuid[],
  p_grant_tokens bigint[],
  p_from bigint,
  p_to bigint,
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
  select coalesce(array_agg(part.grant_id order by part.nth), '{}'),
         coalesce(array_agg(least(part.upto, p_to) - greatest(part.upto - part.tokens, p_from) order by part.nth), '{}')
    into grant_ids, grant_tokens
    from (
      select p.grant_id, p.tokens, p.nth, (sum(p.tokens) over (order by p.nth))::bigint as upto
        from unnest(p_grant_ids, p_grant_tokens) with ordinality as p (grant_id, tokens, nth)) part
   where part.upto > p_from and part.upto - part.tokens < p_to;
end
$$;
comment on function tokenbook.slice_allocations is
  'The parts of an allocation between two points of it, counted in tokens from its front.';
