-- Lets a data migration say what it did where the CLI shows no notices.
create or replace function private.report(p_migration text, p_report text)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  raise notice '%', p_report;
  insert into private.migration_reports (migration, report) values (p_migration, p_report);
end
$$;
comment on function private.report(text, text) is
  'Raises a notice and keeps its text in private.migration_reports. For migrations only; nobody may execute it through the API.';
revoke all on function private.report(text, text) from public, anon, authenticated, service_role;
