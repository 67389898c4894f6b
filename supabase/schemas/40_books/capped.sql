/*
 * What an answer adds when a cap allowed less than was wanted: {capped_by}; nothing otherwise.
 * Caller: internal.
 */
create or replace function private.capped(p_capped_by jsonb)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
  return case when p_capped_by is null then '{}' else jsonb_build_object('capped_by', p_capped_by) end;
end
$$;
comment on function private.capped(jsonb) is '{capped_by} where a cap allowed less than was wanted, else an empty object.';
revoke all on function private.capped(jsonb) from public, anon, authenticated, service_role;
