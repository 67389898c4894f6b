/*
 * What an answer adds when a cap allowed less than was wanted: {capped_by}; nothing otherwise.
 * Caller: internal.
 */
create function tokenbook.describe_cap(p_capped_by jsonb)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return case when p_capped_by is null then '{}' else jsonb_build_object('capped_by', p_capped_by) end;
end
$$;
comment on function tokenbook.describe_cap is '{capped_by} where a cap allowed less than was wanted, else an empty object.';
