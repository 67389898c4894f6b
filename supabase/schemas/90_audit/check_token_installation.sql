/*
 * Which version is installed, and what threatens the books from outside of them: settings that lose commits or switch triggers off, rights that were
 * not declared, row level security switched off, and anything of ours that is not as it was made (compare_shape); and
 * what stands open beside them in the project, which is not Tokenbook's to close: that it names, with the statement
 * that closes it. A row for each finding; and a row for each subject of which there is none, with the status ok.
 *
 * Compares with what the install found in the catalogue, as the server printed it. That stays the same in a dump that
 * is restored, also to another version from PostgreSQL 15 to 18. A role that may change our functions may change
 * what they are compared with: this finds accidental changes, not what the database owner hides.
 * Caller: service_role, and the database owner (`npm run doctor`).   Locks: nothing.
 * Returns subject, status (ok, warning, fault), finding, remedy (statements, separated by ;). It is NULL where no statement
 * mends it without a loss: run again what the migrations say of it.
 */
-- Security definer: what was declared is internal.
create function tokenbook.check_token_installation()
returns table (subject text, status text, finding text, remedy text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_jobs text;
  v_are_scheduled boolean := false;
  v_moves jsonb;
begin
  perform tokenbook.check_body(); -- @server-sends-one-object
  select r.report into v_jobs from tokenbook.migration_reports r where r.migration = 'jobs' order by r.id desc limit 1;
  if to_regclass('cron.job') is not null and has_table_privilege('cron.job', 'select') then
    execute 'select count(*) = 2 from cron.job where jobname in (''tokenbook-expire-grants'', ''tokenbook-arm-alerts'')'
      into v_are_scheduled;
  end if;
  select jsonb_agg(open) into v_moves
    from (
      select m.direction, m.place, min(m.started_at) as started_at, min(m.user_id::text) as user_id, count(*) - 1 as others
        from tokenbook.moves m where m.settled_at is null
       group by m.id, m.direction, m.place order by min(m.started_at) limit 20) open;
  return query
  with own as (
    select * from tokenbook.own_objects()
  ), settings as (
    select o.setting, o.whose, format('alter %s reset %s', o.whose_statement, o.setting) as remedy
      from (
        select split_part(lower(setting), '=', 1) as setting,
               case when s.setdatabase = 0 then format('role %s', pg_get_userbyid(s.setrole))
                    when s.setrole = 0 then format('database %s', current_database())
                    else format('role %s in database %s', pg_get_userbyid(s.setrole), current_database()) end as whose,
               case when s.setdatabase = 0 then format('role %I', pg_get_userbyid(s.setrole))
                    when s.setrole = 0 then format('database %I', current_database())
                    else format('role %I in database %I', pg_get_userbyid(s.setrole), current_database()) end as whose_statement
          from pg_db_role_setting s
         cross join unnest(s.setconfig) as setting
         where s.setdatabase in (0, (select d.oid from pg_database d where d.datname = current_database()))
           and lower(setting) ~ '^(synchronous_commit=(off|false|no|0)|session_replication_role=replica)$') o
  ), present as (
    select * from tokenbook.present_rights()
  ), declared as (
    select d.* from jsonb_to_recordset(tokenbook.declared_rights()) as d (kind text, object text, grantee text, privilege text)
  ), shape as (
    select * from tokenbook.compare_shape()
  ), theirs as (
    -- of the project, in the schema that the API shows; what an extension brings is the extension's
    select c.oid, c.relkind, c.oid::regclass::text as name, c.relrowsecurity,
           (select string_agg(distinct r.role, ' and ') from unnest(array['anon', 'authenticated']) r (role)
             where has_table_privilege(r.role, c.oid, 'select')) as readers,
           (select string_agg(distinct r.role, ' and ') from unnest(array['anon', 'authenticated']) r (role)
             where has_table_privilege(r.role, c.oid, 'insert, update, delete, truncate')) as writers,
           c.relkind = 'v' and exists (
             select 1 from pg_options_to_table(c.reloptions) o where o.option_name = 'security_invoker' and o.option_value::boolean) as asks_as_caller
      from pg_class c
     where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')
       and c.relname <> all (tokenbook.own_relations())
       and not exists (
         select 1 from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
  ), kinds (type, name) as (values
    ('r', 'tables'), ('f', 'functions'), ('S', 'sequences'), ('T', 'types')
  ), subjects (place, subject, sound) as (values
    (0, 'version', format('Tokenbook %s', tokenbook.version())),
    (1, 'durability', 'what was answered outlives a crash, as far as settings say'),
    (2, 'rights', 'nobody has a right on anything of Tokenbook''s that was not declared, and none is missing'),
    (3, 'row level security', 'it is on for every table of Tokenbook''s, with the policies that were made and no other'),
    (4, 'triggers', 'all are there and enabled, as they were made, and no other'),
    (5, 'functions', 'each has the text, the rights and the settings that it was made with'),
    (6, 'tables', 'columns, constraints, indexes and views are as they were made'),
    (7, 'the project', 'nothing beside Tokenbook in public stands open'),
    (8, 'the shadow', 'no counter of the project''s runs beside the books, or it is followed'),
    (9, 'jobs', coalesce(v_jobs, 'Not scheduled: nothing depends on it')),
    (10, 'moves', 'no user''s books are on their way to another project, or from one')
  ), counter as (
    select s.*, e.relation, format('%I.%I.%I', s.schema_name, s.table_name, s.amount_column) as name, e.is_there, e.is_seen, e.fault, e.way
      from tokenbook.shadow s
     cross join tokenbook.examine_shadow() e
  ), followers as (
    select g.tgname, g.tgrelid, g.tgenabled from pg_trigger g where g.tgfoid = to_regprocedure('tokenbook.note_shadow_change()')
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
      from settings s where s.setting = 'synchronous_commit'
    union all
    -- rights
    select 2, 'rights', case when p.grantee in ('public', 'anon', 'authenticated', 'service_role') or p.privilege !~ '^select' then 'fault' else 'warning' end,
           format('%s has %s on %s %s, which nobody declared', p.grantee, p.privilege, p.kind, p.object),
           format('revoke %s on %s %s from %s', p.privilege, p.kind, p.object, case p.grantee when 'public' then 'public' else quote_ident(p.grantee) end)
      from present p
     where not exists (
       select 1 from declared d
        where (d.kind, d.object, d.grantee, d.privilege) = (p.kind, p.object, p.grantee, p.privilege))
    union all
    select 2, 'rights', 'fault', format('%s lacks %s on %s %s', d.grantee, d.privilege, d.kind, d.object),
           format('grant %s on %s %s to %s', d.privilege, d.kind, d.object, quote_ident(d.grantee))
      from declared d
     where not exists (
       select 1 from present p
        where (d.kind, d.object, d.grantee, d.privilege) = (p.kind, p.object, p.grantee, p.privilege))
    union all
    select 2, 'rights', 'fault', format('%s can act as %s', m.member::regrole, m.roleid::regrole),
           format('revoke %s from %s', m.roleid::regrole, m.member::regrole)
      from pg_auth_members m
      join pg_roles r on r.oid = m.roleid
     where pg_get_userbyid(m.member) in ('anon', 'authenticated')
       and (r.rolsuper or r.rolbypassrls or r.rolname in ('postgres', 'pg_read_all_data', 'pg_write_all_data', 'pg_maintain'))
    union all
    select 2, 'rights', 'warning',
           format('new %s that %s makes in schema tokenbook are open to %s', kinds.name, pg_get_userbyid(d.defaclrole), a.grantee),
           format('alter default privileges for role %I in schema tokenbook revoke all on %s from %s', pg_get_userbyid(d.defaclrole), kinds.name, a.grantee)
      from pg_default_acl d
      join kinds on kinds.type = d.defaclobjtype::text
     cross join lateral (
       select distinct case x.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(x.grantee)) end as grantee
         from aclexplode(d.defaclacl) x where x.grantee <> d.defaclrole) a
     where d.defaclnamespace = 'tokenbook'::regnamespace
    union all
    -- row level security
    select 3, 'row level security', 'fault', format('%I passes row level security', r.rolname), format('alter role %I nobypassrls', r.rolname)
      from pg_roles r where r.rolname in ('anon', 'authenticated') and (r.rolbypassrls or r.rolsuper)
    union all
    select 3, 'row level security', 'fault', format('row level security is off on %s: every role that may read it reads everybody''s rows', c.oid::regclass),
           format('alter table %s enable row level security', c.oid::regclass)
      from own o
      join pg_class c on o.class = 'pg_class'::regclass and c.oid = o.object and c.relkind in ('r', 'p') and not c.relrowsecurity
    union all
    -- triggers
    select 4, 'triggers', 'fault', format('session_replication_role is replica for %s: their calls pass every trigger and foreign key', s.whose), s.remedy
      from settings s where s.setting = 'session_replication_role'
    union all
    select 4, 'triggers', 'fault', 'session_replication_role is replica on the server: every call passes every trigger and foreign key',
           'alter system reset session_replication_role'
      from pg_settings s
     where s.name = 'session_replication_role' and s.reset_val = 'replica' and s.source in ('configuration file', 'command line', 'environment variable', 'global')
    union all
    -- policies, triggers, functions, tables
    select p.place, p.subject, s.status, s.finding, s.remedy
      from shape s
     cross join lateral (
       select * from subjects where subjects.subject = case s.kind
         when 'policy' then 'row level security' when 'trigger' then 'triggers' when 'rule' then 'triggers'
         when 'function' then 'functions' else 'tables' end) p
    union all
    -- the project around it
    select 7, 'the project', 'warning',
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
    select 7, 'the project', 'warning',
           format('function %s runs with its owner''s rights for %s: not Tokenbook''s to close', p.oid::regprocedure,
             case when has_function_privilege('anon', p.oid, 'execute') then 'any caller' else 'any signed-in user' end),
           format('revoke execute on function %s from public, anon, authenticated', p.oid::regprocedure)
      from pg_proc p
     where p.pronamespace = 'public'::regnamespace and p.prosecdef and p.prokind = 'f'
       and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
       and p.oid not in (select o.object from own o where o.class = 'pg_proc'::regclass)
       and (has_function_privilege('anon', p.oid, 'execute') or has_function_privilege('authenticated', p.oid, 'execute'))
       and not exists (
         select 1 from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
    union all
    select 7, 'the project', 'warning',
           format('new %s that %s makes in public are open to %s (the legacy default privileges): not Tokenbook''s to close',
             kinds.name, pg_get_userbyid(d.defaclrole), string_agg(distinct a.grantee::regrole::text, ' and ')),
           format('alter default privileges for role %I %srevoke all on %s from anon, authenticated',
             pg_get_userbyid(d.defaclrole), case when d.defaclnamespace <> 0 then 'in schema public ' else '' end, kinds.name)
      from pg_default_acl d
      join kinds on kinds.type = d.defaclobjtype::text
     cross join lateral aclexplode(d.defaclacl) a
     where d.defaclnamespace in (0, 'public'::regnamespace) and kinds.type <> 'T'
       and a.grantee in ('anon'::regrole, 'authenticated'::regrole)
       -- as whom migrations and the SQL editor make things; what the platform makes for itself is its own
       and pg_get_userbyid(d.defaclrole) = current_user
     group by d.defaclrole, d.defaclnamespace, kinds.name
    union all
    -- anon is part of public: what is revoked from anon alone stays open through it
    select 7, 'the project', 'warning',
           format('new functions that %s makes can be called by everybody (Postgres'' own default): not Tokenbook''s to close', current_user),
           format('alter default privileges for role %I revoke execute on functions from public', current_user)
     where not exists (
       select 1 from pg_default_acl d
        where d.defaclrole = current_user::regrole and d.defaclobjtype = 'f' and d.defaclnamespace = 0
          and not exists (select 1 from aclexplode(d.defaclacl) a where a.grantee = 0))
    union all
    -- tables of the project's on which rows are paid for
    select 4, 'triggers', 'fault', format('trigger %I on %s is disabled: what is inserted there is not paid for', g.tgname, g.tgrelid::regclass),
           format('alter table %s enable trigger %I', g.tgrelid::regclass, g.tgname)
      from pg_trigger g
     where g.tgfoid = to_regprocedure('tokenbook.charge_for_row()') and g.tgenabled in ('D', 'R')
    union all
    -- a counter beside the books
    select 8, 'the shadow', case when c.is_seen or (c.mode <> 'shadow' and not c.is_there) then 'warning' else 'fault' end,
           format('%s: %s', c.fault, c.way), null
      from counter c where c.fault is not null
    union all
    select 8, 'the shadow', 'fault', format('what is written to %s is not seen, trigger %s is missing: npx tokenbook shadow --start, or --stop', c.name, n.name), null
      from counter c
     cross join unnest(case c.mode when 'read_only' then array['tokenbook_shadow_update'] else tokenbook.shadow_triggers() end) as n (name)
     where c.is_there and not exists (select 1 from followers f where f.tgrelid = c.relation and f.tgname = n.name)
    union all
    select 8, 'the shadow', 'fault', format('trigger %I on %s is disabled: what is written there is not seen', f.tgname, f.tgrelid::regclass),
           format('alter table %s enable trigger %I', f.tgrelid::regclass, f.tgname)
      from followers f where f.tgenabled in ('D', 'R')
    union all
    select 8, 'the shadow', 'warning', format('trigger %I on %s is of no shadow', f.tgname, f.tgrelid::regclass),
           format('drop trigger %I on %s', f.tgname, f.tgrelid::regclass)
      from followers f where not exists (select 1 from counter c where c.relation = f.tgrelid)
    union all
    select 8, 'the shadow', 'warning', format('changes of %s are not booked since %s: npx tokenbook shadow', c.name, date_trunc('second', o.changed_at)), null
      from counter c
     cross join lateral (select h.changed_at from tokenbook.shadow_changes h order by h.id limit 1) o
     where o.changed_at < now() - interval '15 minutes'
    union all
    select 8, 'the shadow', 'warning', format('%s is written by runs alone, and there was none since %s: keep npx tokenbook shadow --watch running until the column is dropped',
             c.name, date_trunc('second', coalesce(c.kept_at, c.switched_at))), null
      from counter c
     where c.mode <> 'shadow' and c.is_there and coalesce(c.kept_at, c.switched_at) < now() - interval '15 minutes'
    union all
    -- what the install said comes along with a dump, the schedule does not
    select 9, 'jobs', 'warning', 'not scheduled in this database, or not both: run the migration tokenbook_jobs again', null
     where v_jobs like 'Scheduled%' and not v_are_scheduled
    union all
    -- their calls are refused meanwhile
    select 10, 'moves', case when m.started_at < now() - interval '15 minutes' then 'warning' else 'ok' end,
           format(case m.direction
                    when 'out' then 'the books of %1$s are closed since %2$s, on their way to %3$s: npx tokenbook move %4$s goes on with it, with --cancel it takes them back'
                    else 'the books of %1$s wait here since %2$s: npx tokenbook move %4$s goes on with it, in the project that they come from, with --cancel it takes them back' end,
             m.user_id || case when m.others > 0 then format(' and %s more', m.others) else '' end,
             date_trunc('second', m.started_at), m.place, m.user_id),
           null
      from jsonb_to_recordset(v_moves) as m (direction text, place text, started_at timestamptz, user_id text, others bigint)
  )
  select all_of.subject, all_of.status, all_of.finding, all_of.remedy
    from (
      select f.* from findings f
      union all
      select s.place, s.subject, 'ok', s.sound, null from subjects s
       where not exists (select 1 from findings f where f.place = s.place)) all_of
   order by all_of.place, all_of.status, all_of.finding;
end
$$;
comment on function tokenbook.check_token_installation is
  'Which version is installed, and what threatens the books from outside of them: settings that lose commits or switch triggers off, rights that nobody declared, row level security that is off, and whatever of Tokenbook''s is not as it was made; and, as warnings, jobs that were scheduled and are not, moves of users that have not ended, and what stands open beside the books in the project, which is not Tokenbook''s to close. For the server. Returns subject, status (ok, warning, fault), finding, remedy (statements that mend it; NULL where none does without a loss, and the migrations say how it was made); a row with ok for a subject of which there is no finding.';
