-- A schema `private` of the app's own, with the helper that its policies ask, and privileges as the app set them.
create schema private;
create table private.admins (user_id uuid primary key);
create function private.is_admin() returns boolean language sql stable security definer set search_path = '' as
  'select exists (select from private.admins a where a.user_id = auth.uid())';
create function private.authorize(p_what text) returns boolean language sql stable as 'select p_what = ''read''';
grant usage on schema private to authenticated;
grant execute on function private.is_admin() to authenticated;
alter default privileges in schema private grant select on tables to service_role;
alter default privileges in schema public revoke execute on functions from anon;

create table public.documents (id bigint primary key, owner uuid, title text);
alter table public.documents enable row level security;
create policy "owner or admin" on public.documents for all to authenticated
  using (owner = auth.uid() or private.is_admin()) with check (private.authorize('read') and (owner = auth.uid() or private.is_admin()));
create table public.admins (user_id uuid primary key, level integer);
create function public.is_admin() returns boolean language sql stable as 'select private.is_admin()';

insert into auth.users (id, email) values
  ('00000000-0000-4000-8000-000000000001', 'a@example.com'), ('00000000-0000-4000-8000-000000000002', 'b@example.com');
insert into private.admins values ('00000000-0000-4000-8000-000000000001');
insert into public.documents select n, ('00000000-0000-4000-8000-00000000000' || 1 + n % 2)::uuid, 'Document ' || n from generate_series(1, 6) n;
