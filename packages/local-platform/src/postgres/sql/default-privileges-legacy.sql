-- Projects made before 2026-05-30: whatever `postgres` creates in public is open to the API's roles at
-- once, tables to anon included. A migration that relies on nothing being granted fails here.
alter default privileges for role postgres in schema public
  grant all on tables to postgres, anon, authenticated, service_role;
alter default privileges for role postgres in schema public
  grant all on functions to postgres, anon, authenticated, service_role;
alter default privileges for role postgres in schema public
  grant all on sequences to postgres, anon, authenticated, service_role;
