/*
 * What threatens the books from outside of them: settings that lose commits, rights that were not declared, row
 * level security switched off, triggers that are gone, functions that were changed; and what stands open beside
 * them in the project, which is not Tokenbook's to close: that it names, with the statement that closes it.
 * A row for each finding; and a row for each subject of which there is none, with the status ok.
 * Caller: service_role, and whoever owns the database (`npm run doctor`).   Locks: nothing.
 * Returns subject, status (ok, warning, fault), finding, remedy (a statement).
 */
-- Security definer: the declared rights are internal.
create function tokenbook.check_token_installation()
returns table (subject text, status text, finding text, remedy text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.check_body(); -- @server-sends-one-object
  return query
  with own as (
    select c.oid, c.relkind, c.relrowsecurity, c.oid::regclass::text as name from pg_class c
     where c.relkind in ('r', 'p')
       and (c.relnamespace = 'tokenbook'::regnamespace
         or (c.relnamespace = 'public'::regnamespace and c.relname = any (tokenbook.own_relations())))
  ), own_functions as (
    select p.*, p.oid::regprocedure::text as name, p.pronamespace = 'public'::regnamespace as is_wrapper
      from pg_proc p
     where p.pronamespace = 'tokenbook'::regnamespace
        or (p.pronamespace = 'public'::regnamespace
          and p.proname in (select f.proname from pg_proc f where f.pronamespace = 'tokenbook'::regnamespace))
  ), settings as (
    select case when s.setdatabase = 0 then format('role %s', pg_get_userbyid(s.setrole))
                when s.setrole = 0 then format('database %s', current_database())
                else format('role %s in database %s', pg_get_userbyid(s.setrole), current_database()) end as whose,
           case when s.setdatabase = 0 then format('alter role %I', pg_get_userbyid(s.setrole))
                when s.setrole = 0 then format('alter database %I', current_database())
                else format('alter role %I in database %I', pg_get_userbyid(s.setrole), current_database()) end
             || ' reset synchronous_commit' as remedy
      from pg_db_role_setting s
     cross join unnest(s.setconfig) as setting
     where s.setdatabase in (0, (select d.oid from pg_database d where d.datname = current_database()))
       and lower(setting) ~ '^synchronous_commit=(off|false|no|0)$'
  ), present as (
    select * from tokenbook.present_rights()
  ), declared as (
    select d.* from jsonb_to_recordset(tokenbook.declared_rights()) as d (kind text, object text, grantee text, privilege text)
  ), triggers (name, of, kind, definition) as (values
    ('token_transactions_keep_append_only', 'public.token_transactions', 'trigger',
     'before delete or update or truncate on public.token_transactions for each statement execute function tokenbook.keep_ledger_append_only()'),
    ('changes_keep_append_only', 'tokenbook.changes', 'trigger',
     'before delete or update or truncate on tokenbook.changes for each statement execute function tokenbook.keep_ledger_append_only()'),
    ('acknowledged_findings_keep_append_only', 'tokenbook.acknowledged_findings', 'trigger',
     'before delete or update or truncate on tokenbook.acknowledged_findings for each statement execute function tokenbook.keep_ledger_append_only()'),
    ('token_plans_date_default_plan', 'public.token_plans', 'trigger',
     'before insert or update on public.token_plans for each row execute function tokenbook.date_default_plan()'),
    ('tokenbook_register_user', 'auth.users', 'constraint trigger',
     'after insert on auth.users deferrable initially deferred for each row execute function tokenbook.register_user()')
  ), theirs as (
    -- of the project, in the schema that the API shows; what an extension brings is the extension's
    select c.oid, c.relkind, c.oid::regclass::text as name, c.relrowsecurity,
           (select string_agg(distinct r.role, ' and ') from unnest(array['anon', 'authenticated']) r (role)
             where has_table_privilege(r.role, c.oid, 'select')) as readers,
           (select string_agg(distinct r.role, ' and ') from unnest(array['anon', 'authenticated']) r (role)
             where has_table_privilege(r.role, c.oid, 'insert, update, delete, truncate')) as writers,
           c.relkind = 'v' and exists (
             select from pg_options_to_table(c.reloptions) o where o.option_name = 'security_invoker' and o.option_value::boolean) as asks_as_caller
      from pg_class c
     where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')
       and c.relname <> all (tokenbook.own_relations())
       and not exists (
         select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
  ), findings (place, subject, status, finding, remedy) as (
    -- what is answered must outlive a crash
    select 1, 'durability', 'fault', format('%s is off on the server: a crash loses or breaks what was answered', s.name),
           format('alter system set %I = on', s.name)
      from pg_settings s
     where s.name in ('fsync', 'full_page_writes') and s.setting = 'off'
    union all
    select 1, 'durability', 'fault', 'synchronous_commit is off on the server: a crash loses the last commits, which callers believe in',
           'alter system reset synchronous_commit'
      from pg_settings s
     where s.name = 'synchronous_commit' and s.reset_val = 'off' and s.source in ('configuration file', 'command line', 'environment variable', 'global')
    union all
    select 1, 'durability', 'fault', format('synchronous_commit is off for %s: a crash loses their last commits, which callers believe in', s.whose), s.remedy
      from settings s
    union all
    select 1, 'durability', 'fault', format('function %s sets synchronous_commit off', f.name), format('alter function %s reset synchronous_commit', f.name)
      from own_functions f cross join unnest(f.proconfig) as setting
     where lower(setting) ~ '^synchronous_commit=(off|false|no|0)$'
    union all
    -- rights
    select 2, 'rights', case when p.grantee in ('public', 'anon', 'authenticated', 'service_role') or p.privilege !~ '^select' then 'fault' else 'warning' end,
           format('%s has %s on %s %s, which nobody declared', p.grantee, p.privilege, p.kind, p.object),
           format('revoke %s on %s %s from %s', p.privilege, p.kind, p.object, case p.grantee when 'public' then 'public' else quote_ident(p.grantee) end)
      from present p
     where not exists (
       select from declared d
        where (d.kind, d.object, d.grantee, d.privilege) = (p.kind, p.object, p.grantee, p.privilege))
    union all
    select 2, 'rights', 'fault', format('%s lacks %s on %s %s', d.grantee, d.privilege, d.kind, d.object),
           format('grant %s on %s %s to %s', d.privilege, d.kind, d.object, quote_ident(d.grantee))
      from declared d
     where not exists (
       select from present p
        where (d.kind, d.object, d.grantee, d.privilege) = (p.kind, p.object, p.grantee, p.privilege))
    union all
    select 2, 'rights', 'fault', format('%s can act as %s', m.member::regrole, m.roleid::regrole),
           format('revoke %s from %s', m.roleid::regrole, m.member::regrole)
      from pg_auth_members m
      join pg_roles r on r.oid = m.roleid
     where pg_get_userbyid(m.member) in ('anon', 'authenticated')
       and (r.rolsuper or r.rolbypassrls or r.rolname in ('postgres', 'pg_read_all_data', 'pg_write_all_data', 'pg_maintain'))
    union all
    -- row level security
    select 3, 'row level security', 'fault', format('%I passes row level security', r.rolname), format('alter role %I nobypassrls', r.rolname)
      from pg_roles r where r.rolname in ('anon', 'authenticated') and (r.rolbypassrls or r.rolsuper)
    union all
    select 3, 'row level security', 'fault', format('row level security is off on %s: whoever may read it reads everybody''s rows', o.name),
           format('alter table %s enable row level security', o.name)
      from own o where not o.relrowsecurity
    union all
    select 3, 'row level security', 'fault', format('policy %I on %s lets clients in without asking who they are', p.polname, o.name),
           format('drop policy %I on %s', p.polname, o.name)
      from own o
      join pg_policy p on p.polrelid = o.oid and p.polpermissive
     where exists (select from pg_attribute a where a.attrelid = o.oid and a.attname = 'user_id')
       and strpos(coalesce(pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid), ''), 'auth.uid()') = 0
    union all
    -- triggers
    select 4, 'triggers', 'fault', format('trigger %s on %s is missing', t.name, t.of), format('create %s %I %s', t.kind, t.name, t.definition)
      from triggers t
     where not exists (select from pg_trigger g where g.tgrelid = to_regclass(t.of) and g.tgname = t.name)
    union all
    select 4, 'triggers', 'fault', format('trigger %s on %s is disabled', t.name, t.of), format('alter table %s enable trigger %I', t.of, t.name)
      from triggers t
      join pg_trigger g on g.tgrelid = to_regclass(t.of) and g.tgname = t.name
     where g.tgenabled not in ('O', 'A')
    union all
    select 4, 'triggers', 'fault', format('trigger %s on %s is not as it was made', t.name, t.of),
           -- a constraint trigger cannot be replaced
           case t.kind when 'trigger' then format('create or replace trigger %I %s', t.name, t.definition)
                else format('drop trigger %I on %s; create %s %I %s', t.name, t.of, t.kind, t.name, t.definition) end
      from triggers t
      join pg_trigger g on g.tgrelid = to_regclass(t.of) and g.tgname = t.name
     where lower(pg_get_triggerdef(g.oid)) <> lower(format('create %s %I %s', t.kind, t.name, t.definition))
    union all
    -- functions
    select 5, 'functions', 'fault', format('function %s runs with its owner''s rights on its caller''s search_path', f.name),
           format('alter function %s set search_path = pg_catalog, pg_temp', f.name)
      from own_functions f
     where f.prosecdef and not coalesce('search_path=pg_catalog, pg_temp' = any (f.proconfig), false)
    union all
    -- those in SQL have none, so that they can be written into the statement that calls them (decision 22)
    select 5, 'functions', 'fault', format('function %s has lost its search_path', f.name),
           format('alter function %s set search_path = pg_catalog, pg_temp', f.name)
      from own_functions f
      join pg_language l on l.oid = f.prolang and l.lanname = 'plpgsql'
     where not f.prosecdef and not coalesce('search_path=pg_catalog, pg_temp' = any (f.proconfig), false)
    union all
    select 5, 'functions', 'fault', format('function %s is to run as its caller, and runs with its owner''s rights', f.name),
           format('alter function %s security invoker', f.name)
      from own_functions f where f.prosecdef and f.is_wrapper
    union all
    -- the project around it
    select 6, 'the project', 'warning',
           format('%s %s by %s: not Tokenbook''s to close', t.name,
             case when t.writers is not null and t.readers is not null then 'is read and written'
                  when t.writers is not null then 'is written' else 'is read' end
             || case t.relkind when 'v' then ' past row level security' when 'm' then ', a materialized view without row level security'
                     when 'f' then ', a foreign table without row level security' else ' without row level security' end,
             coalesce(t.writers, t.readers)),
           case when t.relkind in ('r', 'p') then format('alter table %s enable row level security', t.name)
                when t.relkind = 'v' then format('alter view %s set (security_invoker = true)', t.name)
                else format('revoke all on table %s from anon, authenticated', t.name) end
      from theirs t
     where coalesce(t.readers, t.writers) is not null and not t.relrowsecurity and not t.asks_as_caller
    union all
    select 6, 'the project', 'warning',
           format('function %s runs with its owner''s rights for %s: not Tokenbook''s to close', p.oid::regprocedure,
             case when has_function_privilege('anon', p.oid, 'execute') then 'whoever asks' else 'whoever is signed in' end),
           format('revoke execute on function %s from public, anon, authenticated', p.oid::regprocedure)
      from pg_proc p
     where p.pronamespace = 'public'::regnamespace and p.prosecdef and p.prokind = 'f'
       and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
       and p.oid not in (select f.oid from own_functions f)
       and (has_function_privilege('anon', p.oid, 'execute') or has_function_privilege('authenticated', p.oid, 'execute'))
       and not exists (
         select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
    union all
    select 6, 'the project', 'warning',
           format('new %s that %s makes in public are open to %s (the legacy default privileges): not Tokenbook''s to close',
             kinds.name, pg_get_userbyid(d.defaclrole), string_agg(distinct a.grantee::regrole::text, ' and ')),
           format('alter default privileges for role %I %srevoke all on %s from anon, authenticated',
             pg_get_userbyid(d.defaclrole), case when d.defaclnamespace <> 0 then 'in schema public ' else '' end, kinds.name)
      from pg_default_acl d
      join (values ('r', 'tables'), ('f', 'functions'), ('S', 'sequences')) as kinds (type, name) on kinds.type = d.defaclobjtype::text
     cross join lateral aclexplode(d.defaclacl) a
     where d.defaclnamespace in (0, 'public'::regnamespace)
       and a.grantee in ('anon'::regrole, 'authenticated'::regrole)
       -- as whom migrations and the SQL editor make things; what the platform makes for itself is its own
       and pg_get_userbyid(d.defaclrole) = current_user
     group by d.defaclrole, d.defaclnamespace, kinds.name
    union all
    -- anon is part of public: what is revoked from anon alone stays open through it
    select 6, 'the project', 'warning',
           format('new functions that %s makes can be called by everybody (Postgres'' own default): not Tokenbook''s to close', current_user),
           format('alter default privileges for role %I revoke execute on functions from public', current_user)
     where not exists (
       select from pg_default_acl d
        where d.defaclrole = current_user::regrole and d.defaclobjtype = 'f' and d.defaclnamespace = 0
          and not exists (select from aclexplode(d.defaclacl) a where a.grantee = 0))
  ), subjects (place, subject, sound) as (values
    (1, 'durability', 'what was answered outlives a crash, as far as settings say'),
    (2, 'rights', 'nobody has a right on anything of Tokenbook''s that was not declared, and none is missing'),
    (3, 'row level security', 'it is on for every table of Tokenbook''s'),
    (4, 'triggers', 'all are there and enabled'),
    (5, 'functions', 'each runs with the rights and the search_path that it was made with'),
    (6, 'the project', 'nothing beside Tokenbook in public stands open')
  )
  select all_of.subject, all_of.status, all_of.finding, all_of.remedy
    from (
      select f.* from findings f
      union all
      select s.place, s.subject, 'ok', s.sound, null from subjects s
       where not exists (select from findings f where f.place = s.place)) all_of
   order by all_of.place, all_of.status, all_of.finding;
end
$$;
comment on function tokenbook.check_token_installation is
  'What threatens the books from outside of them: settings that lose commits, rights that nobody declared, row level security that is off, triggers and functions that were changed; and, as warnings, what stands open beside them in the project, which is not Tokenbook''s to close. For the server. Returns subject, status (ok, warning, fault), finding, remedy (a statement that mends it); a row with ok for a subject of which there is no finding.';
