/*
 * What these two columns of a table are, and why a shadow cannot follow them: the one place that says what can be followed.
 * Of a domain it says what it is made of.
 * Caller: examine_shadow, and `tokenbook shadow`, `switch` and `import`.   Locks: nothing.
 * Returns one row; none, where there is no such relation. Without a column its type is NULL; fault is NULL where it can be followed.
 */
create function tokenbook.examine_counter(p_relation oid, p_user_column text, p_amount_column text)
returns table (
  relation text, amount_type text, amount_modifier integer, amount_written text, is_writable boolean, user_type text, fault text
)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  c_numbers constant text[] := array['smallint', 'integer', 'bigint', 'numeric', 'real', 'double precision'];
begin
  return query
  with recursive columns as (
    select a.attname::text as name, a.atttypid as type, a.atttypmod as modifier, format_type(a.atttypid, a.atttypmod) as written,
           a.attgenerated = '' and a.attidentity <> 'a' as is_writable
      from pg_attribute a
     where a.attrelid = p_relation and a.attname in (p_user_column, p_amount_column) and a.attnum > 0 and not a.attisdropped
  ), bases as (
    select k.name, k.type, k.modifier from columns k
    union all
    select b.name, t.typbasetype, t.typtypmod from bases b join pg_type t on t.oid = b.type and t.typtype = 'd'
  ), known as (
    select k.name, format_type(b.type, null) as type, b.modifier, k.written, k.is_writable
      from columns k
      join bases b on b.name = k.name
      join pg_type t on t.oid = b.type and t.typtype <> 'd'
  )
  select format('%I.%I', n.nspname, c.relname), a.type, a.modifier, a.written, a.is_writable, u.type,
         case when c.relkind not in ('r', 'p') then format('%s.%s is no table: nothing can be put on it', n.nspname, c.relname)
              when a.name is null then format('%s.%s.%s is gone', n.nspname, c.relname, p_amount_column)
              when u.name is null then format('%s.%s.%s is gone, which said whose a row is', n.nspname, c.relname, p_user_column)
              when c.relkind = 'p' or exists (select 1 from pg_inherits i where c.oid in (i.inhrelid, i.inhparent)) then
                format('%s.%s is partitioned, or one of several tables of which each is part: a statement that names a part passes the triggers of the others, so it cannot be followed', n.nspname, c.relname)
              when a.type <> all (c_numbers) then
                format('%s.%s.%s is %s, and no number: a shadow follows %s', n.nspname, c.relname, p_amount_column, a.type, array_to_string(c_numbers, ', '))
              when u.type not in ('uuid', 'text', 'character varying') then
                format('%s.%s.%s is %s: whose a row is must be an id of auth.users', n.nspname, c.relname, p_user_column, u.type)
         end
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    left join known a on a.name = p_amount_column
    left join known u on u.name = p_user_column
   where c.oid = p_relation;
end
$$;
comment on function tokenbook.examine_counter is
  'What two columns of a table are, as a counter: the table, the amount''s type, modifier and whole type, whether it can be written, the user''s type; and why it cannot be followed, NULL where it can.';
