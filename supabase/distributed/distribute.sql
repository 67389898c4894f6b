/*
 * Distributes Tokenbook over the machines of a Citus cluster, by user: psql -f supabase/distributed/distribute.sql, once,
 * on the coordinator, as a superuser, after Tokenbook is installed there and the workers are added (docs/guides/citus.md).
 *
 *   by user_id   every table whose keys all have the user in them: a user's rows are on one machine, all of them
 *   everywhere   the others (the catalogue, the settings, what providers say): a copy on each machine
 *   functions    on each machine, since statements that run there call them
 *
 * What cannot be the same on many machines is changed here and nowhere else: policies, triggers, views, auth.users, and
 * the functions of layer.sql. One transaction, but for its last three steps, which may be repeated.
 */
\set ON_ERROR_STOP on
begin;
set local client_min_messages = warning;
set local citus.multi_shard_modify_mode = 'sequential'; -- tables, types and functions in one transaction
set local citus.enable_unsafe_triggers = on; -- those of users' rows: each changes rows of the same user
set local search_path = pg_catalog, pg_temp;

select nspowner::regrole as owner from pg_namespace where nspname = 'tokenbook' \gset
set local citus.enable_ddl_propagation = off;
set local role :"owner";
\ir layer.sql
reset role;
set local citus.enable_ddl_propagation = on;

-- a body is looked at where its tables and views are: on the coordinator, where it was made
set local citus.propagate_set_commands = 'local';
set local check_function_bodies = off;

create temp table ours on commit drop as
select c.oid::regclass as relation, c.relkind, format('%s.%s', n.nspname, c.relname) as name,
       exists (select 1 from pg_attribute a where a.attrelid = c.oid and a.attname = 'user_id' and a.attnotnull)
       and not exists (
         select 1 from pg_index i
          where i.indrelid = c.oid and i.indisunique
            and not exists (
              select 1 from pg_attribute a
               where a.attrelid = c.oid and a.attname = 'user_id' and a.attnum = any (i.indkey::smallint[])))
       -- of two users each, and few
       and format('%s.%s', n.nspname, c.relname) not in ('tokenbook.referrals', 'tokenbook.moves') as is_by_user
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p') and not c.relispartition
   and (n.nspname = 'tokenbook' or n.nspname = 'public' and c.relname = any (tokenbook.own_relations()));

-- Views, with what makes them anew: Citus takes a table for part of a circle as long as a view over it calls a function
-- that takes its rows. The project's own views over ours, too.
create temp table views as
with recursive over as (
  select r.ev_class as oid
    from pg_depend d
    join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
   where d.refclassid = 'pg_class'::regclass and d.refobjid in (select o.relation from ours o)
  union
  select r.ev_class
    from over v
    join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = v.oid
    join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
)
select row_number() over (order by c.oid) as nth, c.oid::regclass::text as name,
       format('create view %s%s as %s', c.oid::regclass, ' with (' || array_to_string(c.reloptions, ', ') || ')', pg_get_viewdef(c.oid)) as made,
       array[format('alter view %s owner to %s', c.oid::regclass, c.relowner::regrole),
             format('revoke all on %s from public, anon, authenticated, service_role', c.oid::regclass)]
       || array(select format('grant %s on %s to %s', a.privilege_type, c.oid::regclass, coalesce(nullif(a.grantee, 0)::regrole::text, 'public'))
                  from aclexplode(c.relacl) a where a.grantee <> c.relowner)
       || array(select case d.objsubid
                         when 0 then format('comment on view %s is %L', c.oid::regclass, d.description)
                         else format('comment on column %s.%I is %L', c.oid::regclass, a.attname, d.description) end
                  from pg_description d
                  left join pg_attribute a on a.attrelid = c.oid and a.attnum = d.objsubid
                 where d.classoid = 'pg_class'::regclass and d.objoid = c.oid)
       || array(select pg_get_triggerdef(t.oid) from pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal) as given,
       n.nspname = 'tokenbook' or n.nspname = 'public' and c.relname = any (tokenbook.own_relations()) as is_ours
  from over v
  join pg_class c on c.oid = v.oid
  join pg_namespace n on n.oid = c.relnamespace
 where c.relkind = 'v';

do $$
declare
  v_owner constant name := (select n.nspowner::regrole from pg_namespace n where n.nspname = 'tokenbook');
  v_it record;
  v_keys text[] := '{}';
  v_triggers text[] := '{}';
  v_sql text;
begin
  if exists (select 1 from pg_dist_partition p join ours o on o.relation = p.logicalrelid) then
    raise exception 'Tokenbook is distributed already';
  end if;
  for v_it in select v.name from views v order by v.nth desc loop
    execute format('drop view %s', v_it.name);
  end loop;

  -- who there is, on each machine: auth.users is on the coordinator, and the auth server's
  create table tokenbook.known_users (id uuid primary key, email text, created_at timestamptz, deleted_at timestamptz);
  comment on table tokenbook.known_users is 'Of auth.users what statements on another machine ask, kept by a trigger there.';
  comment on column tokenbook.known_users.id is 'The user.';
  comment on column tokenbook.known_users.email is 'As in auth.users.';
  comment on column tokenbook.known_users.created_at is 'As in auth.users.';
  comment on column tokenbook.known_users.deleted_at is 'As in auth.users.';
  execute format('alter table tokenbook.known_users owner to %I', v_owner);
  alter table tokenbook.known_users enable row level security;
  perform tokenbook.withdraw_rights('table', 'tokenbook.known_users'::regclass);
  insert into tokenbook.known_users select u.id, u.email, u.created_at, u.deleted_at from auth.users u;
  perform create_reference_table('tokenbook.known_users');
  create function tokenbook.note_known_user() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $f$
  begin
    if tg_op <> 'INSERT' then
      delete from tokenbook.known_users k where k.id = old.id;
    end if;
    if tg_op <> 'DELETE' then
      insert into tokenbook.known_users (id, email, created_at, deleted_at) values (new.id, new.email, new.created_at, new.deleted_at);
    end if;
    return null;
  end
  $f$;
  comment on function tokenbook.note_known_user is 'Trigger on auth.users: keeps tokenbook.known_users, which each machine has a copy of.';
  execute format('alter function tokenbook.note_known_user() owner to %I', v_owner);
  create trigger a_token_user_is_known -- before the one that gives a new user their plan, in the order of names
    after insert or update of id, email, created_at, deleted_at or delete on auth.users
    for each row execute function tokenbook.note_known_user();

  -- keys to the catalogue are put back when both ends are where they belong
  for v_it in
    select c.conrelid::regclass as relation, c.conname, pg_get_constraintdef(c.oid) as definition
      from pg_constraint c join ours o on o.relation = c.conrelid
     where c.contype = 'f' and c.conparentid = 0
  loop
    v_keys := v_keys || format('alter table %s add constraint %I %s', v_it.relation, v_it.conname, v_it.definition);
    execute format('alter table %s drop constraint %I', v_it.relation, v_it.conname);
  end loop;
  -- Citus knows no subquery in a policy: who asks is asked for each row
  for v_it in
    select p.polrelid::regclass as relation, p.polname, pg_get_expr(p.polqual, p.polrelid) as expression
      from pg_policy p join ours o on o.relation = p.polrelid
  loop
    execute format('alter policy %I on %s using (%s)', v_it.polname, v_it.relation,
      regexp_replace(v_it.expression, '\( SELECT (tokenbook\.caller_id\(\)) AS caller_id\)', '\1', 'g'));
  end loop;
  -- Those of users' rows come back when their functions are everywhere. Not on a table that each machine has a copy of, where
  -- each would act for itself (layer.sql has what they do); nor for each statement, of which a machine sees another. So
  -- rights alone keep the ledger append-only, which no role has.
  for v_it in
    select t.tgname, o.relation, t.tgtype & 1 = 1 and o.is_by_user as comes_back, pg_get_triggerdef(t.oid) as definition
      from pg_trigger t join ours o on o.relation = t.tgrelid
     where not t.tgisinternal and t.tgparentid = 0
  loop
    if v_it.comes_back then
      v_triggers := v_triggers || v_it.definition;
    end if;
    execute format('drop trigger %I on %s', v_it.tgname, v_it.relation);
  end loop;

  for v_it in select o.* from ours o order by o.is_by_user, o.name loop
    if v_it.is_by_user then
      perform create_distributed_table(
        v_it.relation, 'user_id', colocate_with => case v_it.name when 'public.token_accounts' then 'none' else 'public.token_accounts' end);
    else
      perform create_reference_table(v_it.relation);
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
    select p.oid::regprocedure as function, p.proname
      from pg_proc p join pg_namespace n on n.oid = p.pronamespace
     where (n.nspname = 'tokenbook' or n.nspname = 'public' and p.proname = any (tokenbook.own_functions()))
       and p.prorettype <> 'event_trigger'::regtype
     order by p.oid
  loop
    perform create_distributed_function(v_it.function);
  end loop;
  foreach v_sql in array v_triggers loop
    execute v_sql;
  end loop;
  -- they change a table that every machine has a copy of, after reading users' rows that have a key to it
  alter function tokenbook.set_token_plan(text, jsonb, text) set citus.multi_shard_modify_mode = 'sequential';
  alter function tokenbook.set_token_pack(text, jsonb, text) set citus.multi_shard_modify_mode = 'sequential';

  set local citus.enable_ddl_propagation = off;
  for v_it in select v.made, v.given from views v order by v.nth loop
    foreach v_sql in array v_it.made || v_it.given loop
      execute v_sql;
    end loop;
  end loop;

  -- what is here now is what the doctor compares with
  for v_it in select p.oid from pg_proc p where p.pronamespace = 'tokenbook'::regnamespace and p.proacl is null loop
    perform tokenbook.withdraw_rights('function', v_it.oid);
  end loop;
  perform tokenbook.declare_shape();
  execute format(
    'create or replace function tokenbook.declared_rights() returns jsonb language plpgsql immutable security invoker '
    'set search_path = pg_catalog, pg_temp as $body$ begin return %L; end $body$',
    (select jsonb_agg(to_jsonb(r) order by r.kind, r.object, r.grantee, r.privilege) from tokenbook.present_rights() r));
end
$$;
commit;

-- Views on the workers, and auth.users there: functions that run there name them.
select v.nth, r.nodename, r.nodeport, r.result
  from (
    select 0 as nth, unnest(array[
             'create schema if not exists auth',
             'grant usage on schema auth to public',
             'create view auth.users as select k.id, k.email, k.created_at, k.deleted_at from tokenbook.known_users k',
             format('grant select on auth.users to %I', :'owner')]) as sql
    union all
    select v.nth, unnest(v.made || v.given) from views v where v.is_ours) v
 cross join lateral run_command_on_workers(
   format('do %L', format('begin set local citus.enable_ddl_propagation = off; execute %L; end', v.sql))) r
 where not r.success
 order by v.nth;

-- A statement on a user's rows may call a function that reads the same user's rows, on the machine where they are.
select format('alter database %I set citus.allow_nested_distributed_execution = on', current_database()) \gexec

-- As long as a statement waits for a row at most, on a worker: what functions set for themselves stays on the coordinator.
select r.nodename, r.nodeport, r.result
  from run_command_on_workers(format(
    'do %L', format('begin set local citus.enable_ddl_propagation = off; execute %L; end',
                    format('alter database %I set lock_timeout = %L', current_database(), '5s')))) r
 where not r.success;
