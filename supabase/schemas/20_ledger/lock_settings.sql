/*
 * Locks the project's settings for a caller that is about to change one of them; their row is made first where
 * there is none.
 * Caller: internal, holding no account's lock.   Locks: the settings.
 */
create function tokenbook.lock_settings()
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  perform pg_catalog.pg_advisory_xact_lock(tokenbook.settings_lock());
  perform tokenbook.restore_settings();
end
$$;
comment on function tokenbook.lock_settings is
  'Locks the project''s settings, whose row is made where there is none.';
