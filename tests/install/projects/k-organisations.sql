-- Organisations that pay for their members: whose credits are spent is the organisation's owner's to say.
create schema app;
create type app.member_role as enum ('owner', 'admin', 'member');
create table public.organizations (
  id uuid primary key default gen_random_uuid(),
  name text not null,
  slug text not null unique check (slug ~ '^[a-z0-9-]+$'),
  owner_id uuid not null references auth.users (id),
  credit_balance numeric(12, 2) not null default 0
);
create table public.memberships (
  organization_id uuid references public.organizations (id) on delete cascade,
  user_id uuid references auth.users (id) on delete cascade,
  role app.member_role not null default 'member',
  primary key (organization_id, user_id)
);
create table public.credit_uses (
  id bigint generated always as identity primary key,
  organization_id uuid not null references public.organizations (id) on delete cascade,
  user_id uuid not null,
  credits numeric(12, 2) not null check (credits > 0)
);
create function app.is_member(p_organization uuid) returns boolean language sql stable security definer set search_path = '' as
  'select exists (select from public.memberships m where m.organization_id = $1 and m.user_id = auth.uid())';
grant usage on schema app to authenticated;
grant execute on function app.is_member(uuid) to authenticated;
alter table public.organizations enable row level security;
alter table public.memberships enable row level security;
alter table public.credit_uses enable row level security;
create policy "members see it" on public.organizations for select to authenticated using (app.is_member(id));
create policy "members see members" on public.memberships for select to authenticated using (app.is_member(organization_id));
create policy "members see uses" on public.credit_uses for select to authenticated using (app.is_member(organization_id));

create function public.use_org_credits(p_organization uuid, p_credits numeric) returns numeric
language plpgsql security definer set search_path = '' as $$
declare
  v_left numeric;
begin
  if not app.is_member(p_organization) then
    raise exception 'not a member' using errcode = '42501';
  end if;
  update public.organizations set credit_balance = credit_balance - p_credits
   where id = p_organization and credit_balance >= p_credits
  returning credit_balance into v_left;
  if v_left is not null then
    insert into public.credit_uses (organization_id, user_id, credits) values (p_organization, auth.uid(), p_credits);
  end if;
  return v_left;
end $$;

insert into auth.users (id, email)
select ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'u' || n || '@example.com' from generate_series(1, 24) n;
insert into public.organizations (id, name, slug, owner_id, credit_balance)
select ('00000000-0000-4000-9000-' || lpad(n::text, 12, '0'))::uuid, 'Organisation ' || n, 'org-' || n,
       ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, n * 100.25
  from generate_series(1, 6) n;
insert into public.memberships
select o.id, u.id, case when u.id = o.owner_id then 'owner' else 'member' end::app.member_role
  from public.organizations o
  join auth.users u on substr(u.id::text, 25)::integer % 6 = substr(o.id::text, 25)::integer % 6;
