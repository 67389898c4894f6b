/*
 * What an answer adds where less could be spent than the account has: {capped_by}, where a cap allowed less than was
 * wanted; {tokens_restricted}, where so many tokens are in grants that do not pay for this; nothing otherwise.
 * Caller: internal.
 */
create function tokenbook.describe_shortage(p_capped_by jsonb, p_tokens_restricted bigint default null)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if num_nonnulls(p_capped_by, p_tokens_restricted) = 0 then
    return '{}';
  end if;
  return jsonb_strip_nulls(jsonb_build_object('tokens_restricted', p_tokens_restricted))
    || case when p_capped_by is null then '{}' else jsonb_build_object('capped_by', p_capped_by) end;
end
$$;
comment on function tokenbook.describe_shortage is
  '{capped_by} where a cap allowed less than was wanted, {tokens_restricted} where grants do not pay for this; else an empty object.';
