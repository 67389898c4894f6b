/*
 * The advisory lock under which the project's settings are made or changed: their row may not exist yet.
 * Caller: internal.
 */
create function tokenbook.settings_lock()
returns bigint
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return pg_catalog.hashtextextended('tokenbook.project_settings', 0);
end
$$;
comment on function tokenbook.settings_lock is
  'The number of the advisory lock under which the project''s settings are made or changed.';
