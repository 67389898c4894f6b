/*
 * What became of the counter that is followed: every step that follows it calls this first, because the project may rename,
 * alter and drop what is its own, and nothing tells us. Its triggers go with a table that is renamed, so they say which it is.
 * Caller: check_token_installation, and `tokenbook shadow`, `switch` and `status`.   Locks: nothing.
 * Returns one row, none where no shadow runs: the table by its name of now (NULL: it is gone), whether the amount's column is
 * there, whether what is written is still seen, what is wrong (NULL: nothing), and what to do.
 */
create function tokenbook.examine_shadow()
returns table (schema_name text, table_name text, relation oid, is_there boolean, is_seen boolean, fault text, way text)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  with counter as (
    select s.*, to_regclass(format('%I.%I', s.schema_name, s.table_name))::oid as named,
           case s.mode when 'shadow' then 'npx tokenbook shadow --start books what was not seen' else 'npx tokenbook shadow goes on' end as goes_on
      from tokenbook.shadow s
  ), found as (
    select c.*, coalesce(f.tgrelid, c.named) as followed
      from counter c
      left join lateral (
        select g.tgrelid from pg_trigger g
         where g.tgfoid = to_regprocedure('tokenbook.note_shadow_change()')
         order by g.tgrelid is not distinct from c.named desc limit 1) f on true
  )
  select n.nspname::text, t.relname::text, t.oid, e.amount_type is not null,
         t.oid is not null and e.fault is null,
         case when t.oid is null then format('%s.%s is gone', f.schema_name, f.table_name)
              when e.fault is not null then e.fault -- @counters-are-examined
              when f.followed is distinct from f.named then
                format('%s.%s is called %s.%s now, and what is written there is noted as before', f.schema_name, f.table_name, n.nspname, t.relname)
         end,
         case when t.oid is null then 'npx tokenbook shadow --stop'
              when e.fault is null then 'give it its name back, or end the shadow: npx tokenbook shadow --stop'
              when e.amount_type is null or e.user_type is null then
                format('if it was renamed, rename it back first: then %s. If it was dropped: npx tokenbook shadow --stop', f.goes_on)
              else format('make it what it was first: then %s. Or end the shadow: npx tokenbook shadow --stop', f.goes_on)
         end
    from found f
    left join pg_class t on t.oid = f.followed
    left join pg_namespace n on n.oid = t.relnamespace
    left join lateral tokenbook.examine_counter(t.oid, f.user_column, f.amount_column) e on true;
end
$$;
comment on function tokenbook.examine_shadow is
  'What became of the counter that is followed: the table by its name of now, whether the amount''s column is there, whether what is written is seen, what is wrong (NULL: nothing) and what to do.';
