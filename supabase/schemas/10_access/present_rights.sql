/*
 * The rights that roles other than the owner have on what is ours: the schema, relations and their columns, sequences,
 * functions.
 * Caller: 95_privileges.sql, which keeps it as tokenbook.declared_rights; check_token_installation.
 */
create function tokenbook.present_rights()
returns table (kind text, object text, grantee text, privilege text)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  with own as (
    select * from tokenbook.own_objects()
  ), relations as (
    select c.* from own o join pg_class c on o.class = 'pg_class'::regclass and c.oid = o.object
  )
  select o.kind, o.object, case a.grantee when 0 then 'public' else pg_get_userbyid(a.grantee)::text end, lower(a.privilege_type) || o.part
    from (
      select 'schema' as kind, n.nspname::text as object, '' as part, n.nspowner as owner,
             coalesce(n.nspacl, acldefault('n', n.nspowner)) as rights
        from pg_namespace n where n.nspname = 'tokenbook'
      union all
      select case c.relkind when 'S' then 'sequence' else 'table' end, c.oid::regclass::text, '', c.relowner, c.relacl from relations c
      union all
      select 'table', c.oid::regclass::text, format(' (%I)', t.attname), c.relowner, t.attacl
        from relations c join pg_attribute t on t.attrelid = c.oid and t.attacl is not null and not t.attisdropped
      union all
      select 'function', p.oid::regprocedure::text, '', p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
        from own join pg_proc p on own.class = 'pg_proc'::regclass and p.oid = own.object) o
   cross join lateral aclexplode(o.rights) a
   where a.grantee <> o.owner;
end
$$;
comment on function tokenbook.present_rights is
  'The rights that roles other than the owners have on what is Tokenbook''s: kind, object, grantee, privilege.';
