/*
 * Everything that a database holds in the schemas $1 (text[]), as rows (object, fact, value).
 *
 * What belongs to a schema is not a list of kinds written here, which would be silent about a kind
 * forgotten: it is what Postgres' own dependencies say. A kind that has no definition below still
 * appears, with the fact that it exists.
 *
 * Identities come from pg_identify_object and the pg_get_…def functions under an empty search_path,
 * so that every name is qualified. The order of columns plays no part.
 */
with recursive
schemas as (
  select n.oid, n.nspowner, n.nspacl from pg_namespace n where n.nspname = any ($1::text[])
),
members (classid, objid) as (
  select 'pg_namespace'::regclass::oid, s.oid from schemas s
  union
  -- normal (n) dependencies count only on the schema itself: what merely uses a table is not part of it
  select d.classid, d.objid
    from pg_depend d
    join members m on m.classid = d.refclassid and m.objid = d.refobjid
   where d.deptype in ('a', 'i', 'P', 'S')
      or (d.deptype = 'n' and d.refclassid = 'pg_namespace'::regclass)
),
objects (classid, objid, objsubid) as (
  select m.classid, m.objid, 0
    from members m
   where not exists ( -- an extension answers for its own objects
           select from pg_depend d where d.classid = m.classid and d.objid = m.objid and d.deptype = 'e')
     -- a default and "not null" (a constraint since Postgres 18) are facts of their column; and what Postgres names by number, or makes for each
     -- table (toast, row and array types, internal triggers, a view's own rule), is no one's choice
     and m.classid <> 'pg_attrdef'::regclass
     and not exists (
           select from pg_constraint c
            where m.classid = 'pg_constraint'::regclass and c.oid = m.objid and c.contype = 'n' and c.conrelid <> 0)
     and not exists (
           select from pg_class c where m.classid = 'pg_class'::regclass and c.oid = m.objid and c.relkind in ('t', 'i')
             and c.relnamespace = 'pg_toast'::regnamespace)
     and not exists (
           select from pg_type t
            where m.classid = 'pg_type'::regclass and t.oid = m.objid
              and (t.typcategory = 'A' or exists (
                    select from pg_class c where c.oid = t.typrelid and c.relkind <> 'c')))
     and not exists (
           select from pg_trigger t where m.classid = 'pg_trigger'::regclass and t.oid = m.objid and t.tgisinternal)
     and not exists (
           select from pg_rewrite r where m.classid = 'pg_rewrite'::regclass and r.oid = m.objid and r.rulename = '_RETURN')
  union all
  select 'pg_class'::regclass, a.attrelid, a.attnum
    from members m
    join pg_class c on c.oid = m.objid and c.relkind in ('r', 'p', 'v', 'm', 'f', 'c')
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
   where m.classid = 'pg_class'::regclass
  union all
  -- a trigger of ours on a table elsewhere
  select 'pg_trigger'::regclass, t.oid, 0
    from pg_trigger t
    join pg_proc p on p.oid = t.tgfoid
    join schemas s on s.oid = p.pronamespace
   where not t.tgisinternal
     and not exists (select from members m where m.classid = 'pg_trigger'::regclass and m.objid = t.oid)
  union all
  -- default privileges for all schemas hang on no schema, and reach into ours
  select 'pg_default_acl'::regclass, d.oid, 0 from pg_default_acl d where d.defaclnamespace = 0
),
definitions (classid, objid, objsubid, fact, value) as (
  select 'pg_class'::regclass::oid, c.oid, 0, f.fact, f.value
    from pg_class c
    left join pg_sequence s on s.seqrelid = c.oid
   cross join lateral (values
     ('definition', case
        when c.relkind in ('v', 'm') then pg_get_viewdef(c.oid)
        when c.relkind in ('i', 'I') then pg_get_indexdef(c.oid)
        when c.relkind = 'S' then format('%s start %s increment %s min %s max %s cache %s cycle %s',
          format_type(s.seqtypid, null), s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle)
        else format('kind %s persistence %s', c.relkind, c.relpersistence)
      end),
     ('state', case when c.relkind in ('i', 'I') then (
        select concat_ws(', ', case when i.indisvalid and i.indisready and i.indislive then 'valid' else 'invalid' end,
                               case when i.indisclustered then 'clustered' end,
                               case when i.indisreplident then 'replica identity' end)
          from pg_index i where i.indexrelid = c.oid) end),
     ('options', (select string_agg(o, ', ' order by o) from unnest(c.reloptions) o)),
     ('row level security', case when c.relkind in ('r', 'p') then
        case when c.relrowsecurity then 'enabled' else 'disabled' end
        || case when c.relforcerowsecurity then ', forced' else '' end end),
     ('replica identity', case when c.relkind in ('r', 'p') then c.relreplident::text end),
     ('owner', case when c.relkind not in ('i', 'I') then c.relowner::regrole::text end)
   ) f (fact, value)
  union all
  select 'pg_class'::regclass, a.attrelid, a.attnum, 'definition',
         concat_ws(' ',
           format_type(a.atttypid, a.atttypmod),
           case when a.attcollation <> t.typcollation then 'collate ' || a.attcollation::regcollation end,
           case when a.attnotnull then 'not null' end,
           case when a.attidentity <> '' then 'identity ' || a.attidentity::text end,
           case when a.attgenerated <> '' then 'generated ' || a.attgenerated::text else 'default' end
             || ' ' || pg_get_expr(d.adbin, d.adrelid),
           case when a.attstorage <> t.typstorage then 'storage ' || a.attstorage::text end,
           case when a.attcompression <> '' then 'compression ' || a.attcompression::text end,
           a.attoptions::text)
    from pg_attribute a
    join pg_type t on t.oid = a.atttypid
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
   where a.attnum > 0
  union all
  select 'pg_constraint'::regclass, c.oid, 0, 'definition', pg_get_constraintdef(c.oid) from pg_constraint c
  union all
  select 'pg_trigger'::regclass, t.oid, 0, 'definition', pg_get_triggerdef(t.oid) || ' -- fires: ' || t.tgenabled::text
    from pg_trigger t
  union all
  select 'pg_rewrite'::regclass, r.oid, 0, 'definition', pg_get_ruledef(r.oid) from pg_rewrite r
  union all
  select 'pg_policy'::regclass, p.oid, 0, 'definition',
         concat_ws(' ',
           case when p.polpermissive then 'permissive' else 'restrictive' end,
           'for ' || p.polcmd::text,
           'to ' || (select string_agg(case when r = 0 then 'public' else r::regrole::text end, ', ' order by r::regrole::text)
                       from unnest(p.polroles) r),
           'using (' || pg_get_expr(p.polqual, p.polrelid) || ')',
           'with check (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')')
    from pg_policy p
  union all
  select 'pg_proc'::regclass, p.oid, 0, f.fact, f.value
    from pg_proc p
   cross join lateral (values
     ('definition', case when p.prokind = 'a' then 'aggregate' else pg_get_functiondef(p.oid) end),
     ('owner', p.proowner::regrole::text)
   ) f (fact, value)
  union all
  select 'pg_type'::regclass, t.oid, 0, f.fact, f.value
    from pg_type t
   cross join lateral (values
     ('definition', concat_ws(' ',
       'kind ' || t.typtype::text,
       case when t.typtype = 'd' then format_type(t.typbasetype, t.typtypmod) end,
       case when t.typnotnull then 'not null' end,
       'default ' || t.typdefault,
       (select string_agg(quote_literal(e.enumlabel), ', ' order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid))),
     ('owner', t.typowner::regrole::text)
   ) f (fact, value)
  union all
  select 'pg_namespace'::regclass, s.oid, 0, 'owner', s.nspowner::regrole::text from schemas s
  union all
  select 'pg_publication_rel'::regclass, r.oid, 0, 'definition',
         concat_ws(' ',
           'columns ' || coalesce(
             (select string_agg(a.attname, ', ' order by a.attname) from pg_attribute a
               where a.attrelid = r.prrelid and a.attnum = any (r.prattrs)), 'all'),
           'where ' || pg_get_expr(r.prqual, r.prrelid))
    from pg_publication_rel r
),
-- no list of privileges means the built-in ones: both ways of saying the same must read the same
privileges (classid, objid, objsubid, grantee, privilege_type, is_grantable) as (
  select o.classid, o.objid, o.objsubid, e.grantee, e.privilege_type, e.is_grantable
    from (
      select 'pg_class'::regclass::oid, c.oid, 0, coalesce(c.relacl, acldefault(case c.relkind when 'S' then 's' else 'r' end::"char", c.relowner))
        from pg_class c where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
      union all select 'pg_class'::regclass, a.attrelid, a.attnum, a.attacl from pg_attribute a where a.attnum > 0
      union all select 'pg_proc'::regclass, p.oid, 0, coalesce(p.proacl, acldefault('f', p.proowner)) from pg_proc p
      union all select 'pg_type'::regclass, t.oid, 0, coalesce(t.typacl, acldefault('T', t.typowner)) from pg_type t
      union all select 'pg_namespace'::regclass, s.oid, 0, coalesce(s.nspacl, acldefault('n', s.nspowner)) from schemas s
      union all select 'pg_default_acl'::regclass, d.oid, 0, d.defaclacl from pg_default_acl d
    ) o (classid, objid, objsubid, acl)
   cross join lateral aclexplode(o.acl) e
),
facts (classid, objid, objsubid, fact, value) as (
  select * from definitions
  union all
  select p.classid, p.objid, p.objsubid,
         'privileges of ' || case when p.grantee = 0 then 'public' else p.grantee::regrole::text end,
         string_agg(p.privilege_type || case when p.is_grantable then ' with grant option' else '' end, ', ' order by p.privilege_type)
    from privileges p
   group by p.classid, p.objid, p.objsubid, p.grantee
  union all
  select d.classoid, d.objoid, d.objsubid, 'comment', d.description from pg_description d
)
select i.type || ' ' || i.identity as object,
       coalesce(f.fact, 'exists') as fact,
       coalesce(f.value, 'yes') as value
  from objects o
 cross join lateral pg_identify_object(o.classid, o.objid, o.objsubid) i
  left join facts f on f.classid = o.classid and f.objid = o.objid and f.objsubid = o.objsubid and f.value is not null
