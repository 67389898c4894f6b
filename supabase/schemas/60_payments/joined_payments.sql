/*
 * The ids of all payments that are parts of the same as one of these, in order; NULL when none is known.
 * Caller: internal.   Locks: nothing.
 */
create function tokenbook.joined_payments(p_provider text, p_ids text[])
returns text[]
language plpgsql
volatile -- sees what was committed while its caller waited for a lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    with named as (
      select coalesce(f.part_of, f.provider_payment_id) as whole
        from tokenbook.provider_payments f
       where f.provider = p_provider and f.provider_payment_id = any (p_ids))
    select array_agg(joined.id order by joined.id) from (
      select n.whole as id from named n
      union
      select f.provider_payment_id from tokenbook.provider_payments f
       where f.provider = p_provider and f.part_of in (select n.whole from named n)) joined); -- @parts-are-joined
end
$$;
comment on function tokenbook.joined_payments is
  'The ids of all payments that are parts of the same as one of these.';
