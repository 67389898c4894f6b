\set ON_ERROR_STOP on
begin;
set local citus.multi_shard_modify_mode = 'sequential';
set local citus.enable_unsafe_triggers = on;
set local citus.propagate_set_commands = 'local';
set local check_function_bodies = off;
set local search_path = pg_catalog, pg_temp;

\ir layer.sql

do $$
declare
  v_table record;
  v_it record;
  v_back text[] := '{}';
  v_keys text[] := '{}';
  v_sql text;
begin
  create temp table ours on commit drop as
    select c.oid::regclass as relation, format('%s.%s', n.nspname, c.relname) as name,
           exists (select 1 from pg_attribute a where a.attrelid = c.oid and a.attname = 'user_id' and a.attnotnull)
           and not exists (
             select 1 from pg_index i
              where i.indrelid = c.oid and i.indisunique
                and not exists (select 1 from pg_attribute a where a.attrelid = c.oid and a.attname = 'user_id' and a.attnum = any (i.indkey::smallint[])))
             and format('%s.%s', n.nspname, c.relname) not in ('tokenbook.referrals', 'tokenbook.moves') as by_user
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'p') and not c.relispartition
       and (n.nspname = 'tokenbook' or n.nspname = 'public' and c.relname = any (tokenbook.own_relations()));

  -- views
  for v_it in
    select c.oid::regclass as view, format('create view %s with (%s) as %s', c.oid::regclass, array_to_string(c.reloptions, ', '), pg_get_viewdef(c.oid)) as sql,
           array(select format('comment on %s is %L', case when d.objsubid = 0 then 'view ' || c.oid::regclass
                    else format('column %s.%I', c.oid::regclass, (select a.attname from pg_attribute a where a.attrelid = c.oid and a.attnum = d.objsubid)) end, d.description)
                   from pg_description d where d.classoid = 'pg_class'::regclass and d.objoid = c.oid)
           || array(select format('grant %s on %s to %s', a.privilege_type, c.oid::regclass, coalesce(nullif(a.grantee, 0)::regrole::text, 'public'))
                   from aclexplode(c.relacl) a where a.grantee <> c.relowner)
           || array(select pg_get_triggerdef(t.oid) from pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal)
           || format('alter view %s owner to %s', c.oid::regclass, c.relowner::regrole) as more
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind = 'v' and n.nspname in ('public', 'tokenbook')
       and not exists (select 1 from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
     order by c.oid
  loop
    v_back := v_back || v_it.sql || format('revoke all on %s from public, anon, authenticated, service_role', v_it.view) || v_it.more;
  end loop;
  for v_it in select c.oid::regclass as view from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind = 'v' and n.nspname in ('public', 'tokenbook')
       and not exists (select 1 from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e') order by c.oid desc
  loop
    execute format('drop view %s', v_it.view);
  end loop;

  create table tokenbook.known_users (id uuid primary key, email text, created_at timestamptz, deleted_at timestamptz);
  alter table tokenbook.known_users owner to postgres;
  alter table tokenbook.known_users enable row level security;
  insert into tokenbook.known_users select u.id, u.email, u.created_at, u.deleted_at from auth.users u;
  perform create_reference_table('tokenbook.known_users');
  create function tokenbook.note_known_user() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $f$
  begin
    if tg_op <> 'INSERT' then
      delete from tokenbook.known_users k where k.id = old.id;
    end if;
    if tg_op <> 'DELETE' then
      insert into tokenbook.known_users values (new.id, new.email, new.created_at, new.deleted_at);
    end if;
    return null;
  end
  $f$;
  alter function tokenbook.note_known_user() owner to postgres;
  revoke all on function tokenbook.note_known_user() from public;
  create trigger a_known_user after insert or update of id, email, created_at, deleted_at or delete on auth.users
    for each row execute function tokenbook.note_known_user();

  for v_it in
    select c.conrelid::regclass as relation, c.conname, pg_get_constraintdef(c.oid) as definition
      from pg_constraint c join ours o on o.relation = c.conrelid
     where c.contype = 'f' and c.conparentid = 0
  loop
    v_keys := v_keys || format('alter table %s add constraint %I %s', v_it.relation, v_it.conname, v_it.definition);
    execute format('alter table %s drop constraint %I', v_it.relation, v_it.conname);
  end loop;
  for v_it in
    select p.polrelid::regclass as relation, p.polname, pg_get_expr(p.polqual, p.polrelid) as expression
      from pg_policy p join ours o on o.relation = p.polrelid
  loop
    execute format('alter policy %I on %s using (%s)', v_it.polname, v_it.relation,
      regexp_replace(v_it.expression, '\( SELECT (tokenbook\.caller_id\(\)) AS caller_id\)', '\1', 'g'));
  end loop;
  for v_table in
    select t.tgname, t.tgrelid::regclass as relation, t.tgfoid::regproc from pg_trigger t join ours o on o.relation = t.tgrelid where not t.tgisinternal and t.tgparentid = 0
       and (t.tgtype & 1 = 0 or not o.by_user)
  loop
    raise notice 'trigger % on % %', v_table.tgname, v_table.relation, v_table.tgfoid;
    execute format('drop trigger %I on %s', v_table.tgname, v_table.relation);
  end loop;
  for v_table in select * from ours o order by o.by_user, o.name loop
    -- raise notice '% %', case when v_table.by_user then 'by user' else 'reference' end, v_table.name;
    if v_table.by_user then
      perform create_distributed_table(v_table.relation, 'user_id', colocate_with => case when v_table.name = 'public.token_accounts' then 'none' else 'default' end);
    else
      perform create_reference_table(v_table.relation);
    end if;
  end loop;
  foreach v_sql in array v_keys loop
    execute v_sql;
  end loop;

  -- a type goes along with a function that takes it, and not with one that takes an array of it
  for v_it in
    select c.oid::regclass as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind = 'c' and n.nspname = 'tokenbook'
  loop
    execute format('create function tokenbook.takes_along(%s) returns void language sql as $f$ select $f$', v_it.name);
    perform create_distributed_function(format('tokenbook.takes_along(%s)', v_it.name)::regprocedure);
    execute format('drop function tokenbook.takes_along(%s)', v_it.name);
  end loop;
  for v_it in
    select p.oid::regprocedure as function, p.oid, p.proconfig, t.typname, p.proretset, p.prosrc,
           p.prolang = (select l.oid from pg_language l where l.lanname = 'sql')
             and p.prosrc ~ '\m(from|join)\s+(public|tokenbook)\.\w+\s*[^(\w]' as reads_by_sql,
           regexp_replace(pg_get_functiondef(p.oid), '\s*LANGUAGE sql', E'\n LANGUAGE plpgsql') as definition
      from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_type t on t.oid = p.prorettype
     where n.nspname = 'tokenbook' or n.nspname = 'public' and p.proname = any (tokenbook.own_functions())
     order by p.oid
  loop
    if array_to_string(v_it.proconfig, ' ') ~ 'plan_cache_mode=force_generic_plan' then
      execute format('alter function %s reset plan_cache_mode', v_it.function);
    end if;
    if v_it.function::text ~ '^tokenbook\.(set_token_pack|set_token_plan)\(' then
      execute format('alter function %s set citus.multi_shard_modify_mode = sequential', v_it.function);
    end if;
    if v_it.function::text ~ '^tokenbook\.(subscription_at|plans_of|without_words)\(' then
      execute format('alter function %s immutable', v_it.function);
    end if;
    if v_it.reads_by_sql then
      raise notice 'sql %', v_it.function;
      execute replace(v_it.definition, v_it.prosrc, format(
        case when v_it.proretset then E'\n#variable_conflict use_column\nbegin\n  return query%sreturn;\nend\n'
          else E'\n#variable_conflict use_column\nbegin\n  return (%s);\nend\n' end,
        rtrim(v_it.prosrc, E' \n;') || E'\n' || case when v_it.proretset then ';' else '' end));
    end if;
    if v_it.typname <> 'event_trigger' then
      perform create_distributed_function(v_it.function);
    end if;
  end loop;

  set local citus.enable_ddl_propagation = off;
  foreach v_sql in array v_back loop
    execute v_sql;
  end loop;
  create temp table views as
    select b.nth, b.sql
      from unnest(array[
             'create schema if not exists auth', 'grant usage on schema auth to postgres, anon, authenticated, service_role',
             'create view auth.users as select k.id, k.email, k.created_at, k.deleted_at from tokenbook.known_users k',
             'grant select on auth.users to postgres'] || v_back) with ordinality as b (sql, nth);
end
$$;
commit;

select v.sql, r.result from views v
 cross join lateral run_command_on_workers(format('do %L', format('begin set local citus.enable_ddl_propagation = off; execute %L; end', v.sql))) r
 where not r.success order by v.nth;
select format('alter database %I set citus.allow_nested_distributed_execution = on', current_database()) \gexec
