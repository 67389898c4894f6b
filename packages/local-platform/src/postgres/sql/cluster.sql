-- The roles of a hosted Supabase project, for the whole server. Run once, as supabase_admin.
-- Source: supabase/postgres, migrations/db; passwords are those of a local stack.

-- Not a superuser, as hosted: a migration that needs more must fail here too.
create role postgres login nosuperuser createdb createrole replication bypassrls password 'postgres';

create role anon nologin inherit;
create role authenticated nologin inherit;
create role service_role nologin inherit bypassrls;
-- The API logs in as this one and becomes one of the three above, request by request.
create role authenticator login noinherit password 'postgres';
grant anon, authenticated, service_role to authenticator;
grant anon, authenticated, service_role to postgres with admin option;

create role supabase_auth_admin login noinherit createrole password 'postgres';
create role supabase_storage_admin login noinherit createrole password 'postgres';
create role dashboard_user nologin nosuperuser createdb createrole replication;

grant pg_monitor, pg_read_all_data, pg_signal_backend to postgres;
grant set on parameter session_replication_role to postgres; -- hosted by supautils: dumps are restored with it

alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';
alter role authenticator set statement_timeout = '8s';
alter role authenticator set lock_timeout = '8s';
alter role supabase_auth_admin set search_path = 'auth';
alter role supabase_auth_admin set idle_in_transaction_session_timeout = '60s';
alter role postgres set search_path = "$user", public, extensions;
alter role supabase_admin set search_path = "$user", public, auth, extensions;
