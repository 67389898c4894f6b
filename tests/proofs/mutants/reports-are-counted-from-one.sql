-- The installation's report has the number that the first one of every other database has.
alter table tokenbook.migration_reports alter column id drop default;
alter table tokenbook.migration_reports alter column id add generated always as identity;
update tokenbook.migration_reports set id = default;
