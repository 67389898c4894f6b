/*
 * What is ours, as it is now: a row for each thing, and its definition in lines, so that what differs can be said.
 * A table's columns, constraints, indexes, triggers, rules, policies and publications have rows of their own.
 * Only what changes what is computed, who sees it and whether it lasts: not comments, costs or storage.
 * What is as usual has no line: a line "disabled" or "owned by …" is there where that is so.
 *
 * The server prints the expressions, and names are as this function's search_path makes them: compare only with what
 * this function has said. PostgreSQL 15 to 18 print all of ours alike, and alike again when a dump is restored: a check
 * that has one `and` in another is not printed as it was written (write `between` alone, or comparisons). NOT NULL, which
 * is a constraint since 18, is a line of its column.
 * A partition has the columns, constraints and indexes of its table, or it would be none: it has rows for what is its own.
 * Leaves out: declared_shape, which would have to hold itself; what a shadow makes for its time; the tables of before the books, kept as old_….
 * Caller: 96_shape.sql, which keeps it as tokenbook.declared_shape; check_token_installation.
 * Returns kind; relation (its own name, where it is one; empty for a function); name; definition.
 */
create function tokenbook.present_shape()
returns table (kind text, relation text, name text, definition text)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set timezone = 'UTC' -- in which the bounds of partitions are printed
set datestyle = 'ISO, YMD'
as $$
declare
  v_owner constant oid := (select n.nspowner from pg_namespace n where n.nspname = 'tokenbook');
begin
  return query
  with own as (
    select * from tokenbook.own_objects()
  ), relations as (
    select c.*, c.oid::regclass::text as name
      from own o
      join pg_class c on o.class = 'pg_class'::regclass and c.oid = o.object
     where not (c.relnamespace = 'tokenbook'::regnamespace and starts_with(c.relname, 'old_'))
  ), functions as (
    select p.*, p.oid::regprocedure::text as name
      from own o
      join pg_proc p on o.class = 'pg_proc'::regclass and p.oid = o.object
     -- that of a shadow comes and goes with it, and so do its triggers; the doctor looks at them by themselves
     where p.oid::regprocedure::text not in ('tokenbook.declared_shape()', 'tokenbook.note_shadow_change()')
  )
  -- what can be changed by `alter function` comes first, in the words of that statement
  select 'function', '', f.name, concat_ws(chr(10),
           case f.provolatile when 'v' then 'volatile' when 's' then 'stable' else 'immutable' end,
           case when f.prosecdef then 'security definer' else 'security invoker' end,
           case when f.proisstrict then 'strict' else 'called on null input' end,
           (select string_agg(format('set %s = %s', s.name,
                     case s.name when 'search_path' then s.value else quote_literal(s.value) end), chr(10) order by s.name)
              from unnest(f.proconfig) c
             cross join lateral (select split_part(c, '=', 1), substr(c, strpos(c, '=') + 1)) as s (name, value)),
           case when f.proowner <> v_owner then format('owner to %I', pg_get_userbyid(f.proowner)) end,
           'in ' || (select l.lanname from pg_language l where l.oid = f.prolang),
           'from ' || pg_get_function_arguments(f.oid),
           'to ' || pg_get_function_result(f.oid),
           'text ' || encode(sha256(convert_to(coalesce(pg_get_function_sqlbody(f.oid), f.prosrc), 'utf8')), 'hex'))
    from functions f
  union all
  select case when r.relkind in ('r', 'p') then 'table' when r.relkind = 'S' then 'sequence' when r.relkind = 'f' then 'foreign table' else 'view' end,
         r.name, r.name, concat_ws(chr(10),
           case when r.relkind = 'r' and r.relpersistence = 'u' then 'unlogged' end,
           case when r.relkind in ('r', 'p') and r.relreplident <> 'd' then
             'replica identity ' || case r.relreplident when 'f' then 'full' when 'n' then 'nothing' else 'using an index' end end,
           case when r.relforcerowsecurity then 'row level security forced' end,
           case when r.relkind = 'p' then 'partitioned by ' || pg_get_partkeydef(r.oid) end,
           case when r.relispartition then pg_get_expr(r.relpartbound, r.oid) end,
           (select string_agg('inherited by ' || i.inhrelid::regclass, chr(10) order by i.inhrelid::regclass::text)
              from pg_inherits i where i.inhparent = r.oid),
           case when r.relkind in ('v', 'm') then (select string_agg(o, chr(10) order by o) from unnest(r.reloptions) o) end,
           -- since PostgreSQL 16 columns of a single relation are printed without its name: so without any, and beside them what is read
           case when r.relkind in ('v', 'm') then
             'text ' || encode(sha256(convert_to(regexp_replace(pg_get_viewdef(r.oid), '[[:<:]][a-z_][a-z0-9_]*[.](?=[a-z_])', '', 'g'), 'utf8')), 'hex') end,
           (select 'reads ' || string_agg(distinct d.refobjid::regclass::text, ', ' order by d.refobjid::regclass::text)
              from pg_rewrite w
              join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid
                              and d.refclassid = 'pg_class'::regclass and d.refobjid <> r.oid
             where w.ev_class = r.oid and w.rulename = '_RETURN'),
           (select format('%s from %s to %s by %s, start %s%s', format_type(s.seqtypid, null), s.seqmin, s.seqmax, s.seqincrement, s.seqstart,
                          case when s.seqcycle then ', cycle' end) from pg_sequence s where s.seqrelid = r.oid),
           case when r.relowner <> v_owner then format('owner to %I', pg_get_userbyid(r.relowner)) end)
    from relations r
  union all
  select 'column', r.name, quote_ident(a.attname), concat_ws(chr(10),
           format_type(a.atttypid, a.atttypmod) || case when a.attcollation <> t.typcollation then ' collate ' || a.attcollation::regcollation else '' end,
           case a.attidentity when 'a' then 'generated always as identity' when 'd' then 'generated by default as identity' end,
           case when a.attnotnull then 'not null' end,
           case when a.attgenerated = '' then 'default ' || pg_get_expr(d.adbin, d.adrelid)
                else format('generated always as (%s)', pg_get_expr(d.adbin, d.adrelid)) end)
    from relations r
    join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
    join pg_type t on t.oid = a.atttypid
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
   where r.relkind in ('r', 'p') and not r.relispartition
  union all
  select 'constraint', r.name, quote_ident(c.conname), pg_get_constraintdef(c.oid)
    from relations r
    join pg_constraint c on c.conrelid = r.oid and c.contype in ('c', 'p', 'u', 'x', 'f')
   where not (r.relispartition and (c.conparentid <> 0 or c.coninhcount > 0))
  union all
  select 'index', r.name, i.indexrelid::regclass::text, concat_ws(chr(10),
           replace(pg_get_indexdef(i.indexrelid), ' ON ONLY ', ' ON '), case when not (i.indisvalid and i.indisready and i.indislive) then 'not valid' end)
    from relations r
    join pg_index i on i.indrelid = r.oid
   where not (r.relispartition and exists (select 1 from pg_inherits h where h.inhrelid = i.indexrelid))
     and not (i.indisvalid and exists (
     select 1 from pg_constraint c where c.conindid = i.indexrelid and c.conrelid = r.oid and c.contype in ('p', 'u', 'x')))
  union all
  select 'trigger', g.tgrelid::regclass::text, quote_ident(g.tgname), concat_ws(chr(10),
           pg_get_triggerdef(g.oid), case g.tgenabled when 'D' then 'disabled' when 'R' then 'for replicas only' end)
    from pg_trigger g
   where not g.tgisinternal and g.tgparentid = 0 -- what a partition has from its table goes with that
     -- on auth.users too; those of the project's tables that are charged for come and go at its owner's word
     and (g.tgrelid in (select r.oid from relations r)
       or g.tgfoid in (select f.oid from functions f where f.name <> 'tokenbook.charge_for_row()'))
  union all
  select 'rule', r.name, quote_ident(w.rulename), pg_get_ruledef(w.oid)
    from relations r
    join pg_rewrite w on w.ev_class = r.oid and w.rulename <> '_RETURN'
  union all
  select 'policy', r.name, quote_ident(p.polname), concat_ws(chr(10),
           case when p.polpermissive then 'as permissive' else 'as restrictive' end,
           'for ' || case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete' else 'all' end,
           'to ' || (select string_agg(case u when 0 then 'public' else quote_ident(pg_get_userbyid(u)) end, ', ' order by pg_get_userbyid(u))
                       from unnest(p.polroles) u),
           'using (' || pg_get_expr(p.polqual, p.polrelid) || ')',
           'with check (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')')
    from relations r
    join pg_policy p on p.polrelid = r.oid
  union all
  select 'publication', r.name, quote_ident(b.pubname), concat_ws(chr(10),
           'columns ' || (select string_agg(quote_ident(a.attname), ', ' order by a.attnum)
                            from pg_attribute a where a.attrelid = r.oid and a.attnum = any (pr.prattrs)),
           'where ' || pg_get_expr(pr.prqual, pr.prrelid))
    from relations r
    join pg_publication_rel pr on pr.prrelid = r.oid
    join pg_publication b on b.oid = pr.prpubid;
end
$$;
comment on function tokenbook.present_shape is
  'What is Tokenbook''s, as it is now: kind (function, table, view, sequence, column, constraint, index, trigger, rule, policy, publication), relation, name, definition in lines. To compare with declared_shape.';
