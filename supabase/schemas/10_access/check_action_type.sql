/*
 * Refuses an action type that is not a plain name, or one that means something to the books.
 * Caller: internal.   Errors: invalid_action_type.
 */
create function tokenbook.check_action_type(p_action_type text)
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_action_type is null
    or octet_length(p_action_type) > 64
    or p_action_type !~ '^[a-z][a-z0-9_]*$'
    or p_action_type = any (tokenbook.reserved_action_types())
  then
    perform tokenbook.refuse('invalid_action_type',
      '{"field": "p_action_type", "rule": "1 to 64 characters of a-z 0-9 _, a letter first, not a reserved name"}');
  end if;
  return true;
end
$$;
comment on function tokenbook.check_action_type is
  'Refuses an action type that is not a plain lower-case name, or one of the names that mean something to the books.';
