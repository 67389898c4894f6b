/*
 * Whether the API was asked for one of our functions, and not for one of the project's that calls ours: the HTTP
 * status, and what the request's body may be, are decided by the function that was asked for.
 * A path with something escaped may be one of ours, and counts as one.
 * Caller: internal.   Reads the settings that PostgREST makes; false in plain SQL.
 */
create function tokenbook.is_own_request()
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_function constant text := substring(current_setting('request.path', true) from '^/rpc/(.*)$');
begin
  return coalesce(position('%' in v_function) > 0 or v_function = any (tokenbook.own_functions()), false);
end
$$;
comment on function tokenbook.is_own_request is
  'Whether the API was asked for one of Tokenbook''s functions by its name. False in plain SQL, and where a function of the project''s was asked for that calls one.';
