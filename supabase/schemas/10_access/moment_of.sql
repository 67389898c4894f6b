/*
 * The moment that a text in a JSON argument says: of 1900 to 2199, with its offset, because without one it would be
 * another moment in another session. NULL where it is none, also where it only looks like one (the 31st of February,
 * an offset of 99 hours).
 * Caller: internal.
 */
create function tokenbook.moment_of(p_text text)
returns timestamptz
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_text ~ '^(19|20|21)[0-9]{2}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?(Z|[+-][0-9]{2}(:?[0-9]{2})?)$' then
    return p_text::timestamptz;
  end if;
  return null;
exception
  when datetime_field_overflow or invalid_datetime_format or invalid_time_zone_displacement_value then -- @offsets-are-checked
    return null;
end
$$;
comment on function tokenbook.moment_of is
  'The moment that a text says, with its offset, of 1900 to 2199; NULL where it is none.';
