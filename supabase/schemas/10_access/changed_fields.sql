/*
 * Which of these fields differ between a row and what it was, in alphabetical order; one that is missing is as null.
 * Caller: internal, functions that record the changed fields (tokenbook.record_change).
 */
create function tokenbook.changed_fields(p_before jsonb, p_after jsonb, p_fields text[])
returns text[]
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return array(
    select f.name from unnest(p_fields) as f (name)
     where coalesce(p_after -> f.name, 'null') is distinct from coalesce(p_before -> f.name, 'null')
     order by f.name);
end
$$;
comment on function tokenbook.changed_fields is 'Which of these fields differ between a row and what it was.';
