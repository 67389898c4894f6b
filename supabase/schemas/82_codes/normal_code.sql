/*
 * A code as it is compared: in capitals, without the blanks and hyphens that people type or leave out.
 * Caller: internal.   Errors: invalid_code.
 */
create function tokenbook.normal_code(p_code text)
returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_code text;
begin
  if octet_length(p_code) <= 128 then -- the length first: it costs nothing
    v_code := upper(regexp_replace(p_code, '[ -]', '', 'g') collate "C");
  end if;
  if (v_code ~ '^[A-Z0-9]{4,64}$') is not true then
    perform tokenbook.refuse('invalid_code',
      '{"field": "p_code", "rule": "4 to 64 letters A to Z and digits; blanks and hyphens between them do not count"}');
  end if;
  return v_code;
end
$$;
comment on function tokenbook.normal_code is
  'A code as it is compared: in capitals, without blanks and hyphens; refuses with invalid_code what can be none.';
