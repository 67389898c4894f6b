-- Lets a data migration say what it did where the CLI shows no notices.
create or replace function tokenbook.report(p_migration text, p_report text)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  raise notice '%', p_report;
  insert into tokenbook.migration_reports (migration, report) values (p_migration, p_report);
end
$$;
comment on function tokenbook.report is
  'Raises a notice and keeps its text in tokenbook.migration_reports. For migrations only; nobody may execute it through the API.';
