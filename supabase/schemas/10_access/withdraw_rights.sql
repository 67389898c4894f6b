/*
 * Takes every right on one object from everybody but its owner: from every grantee in its access list, not
 * from roles that are named here. A project may have default privileges for roles of its own, and a role that
 * service_role or authenticated is a member of would open the books to them.
 * Caller: migrations (95_privileges.sql, tokenbook.expose).
 */
create function tokenbook.withdraw_rights(p_kind text, p_object oid)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_right record;
begin
  for v_right in
    select distinct o.name, a.grantee
      from (
        select quote_ident(n.nspname) as name, n.nspowner as owner, coalesce(n.nspacl, acldefault('n', n.nspowner)) as rights
          from pg_namespace n where p_kind = 'schema' and n.oid = p_object
        union all
        select c.oid::regclass::text, c.relowner, c.relacl -- nobody has any, where there is no list
          from pg_class c where p_kind in ('table', 'sequence') and c.oid = p_object
        union all
        select p.oid::regprocedure::text, p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
          from pg_proc p where p_kind = 'function' and p.oid = p_object) o
     cross join lateral aclexplode(o.rights) a
     where a.grantee <> o.owner
  loop
    execute format('revoke all on %s %s from %s cascade', p_kind, v_right.name,
      case v_right.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(v_right.grantee)) end);
  end loop;
end
$$;
comment on function tokenbook.withdraw_rights is
  'Takes every right on one object (p_kind schema, table, sequence or function) from everybody but its owner. For migrations.';
