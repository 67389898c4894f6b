/*
 * The statements that make one thing of ours again what it was declared to be, where statements can: NULL for what is
 * found in the migration that made it (the text of a function or view, a column), and for what holds somebody's rows.
 * Caller: internal (compare_shape), which says the definitions; NULL is one that there is not.
 */
create function tokenbook.mend_shape(p_kind text, p_relation text, p_name text, p_declared text, p_present text)
returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_declared constant text[] := coalesce(string_to_array(p_declared, chr(10)), '{}');
  v_added constant text[] := array(
    select line from unnest(string_to_array(p_present, chr(10))) line where line <> all (v_declared));
  v_lost constant text[] := array(
    select line from unnest(v_declared) line where line <> all (coalesce(string_to_array(p_present, chr(10)), '{}')));
  v_on constant text := format('%s on %s', p_name, p_relation);
  v_table constant text := format('alter table %s ', p_relation);
  v_column constant text := format('%salter column %s ', v_table, p_name);
begin
  if p_kind = 'function' then
    if p_declared is null then
      return 'drop function ' || p_name;
    end if;
    if p_present is null or exists (select 1 from unnest(v_added || v_lost) line where line ~ '^(in|from|to|text) ') then
      return null;
    end if;
    return concat_ws('; ',
      (select format('alter function %s owner to %s', p_name, o.owner) from unnest(v_added) line
        cross join lateral (select n.nspowner::regrole from pg_namespace n where n.nspname = 'tokenbook') o (owner)
        where line like 'owner to %'),
      (select format('alter function %s %s', p_name, string_agg(case when line like 'set %' and n = 1 then 'reset all ' || line else line end, ' ' order by is_set, n))
         from (select line, line like 'set %' as is_set, row_number() over (partition by line like 'set %' order by place) as n
                 from unnest(v_declared) with ordinality as d (line, place)
                where line ~ '^(volatile|stable|immutable|security|strict|called|set)( |$)') d
       having exists (select 1 from unnest(v_added || v_lost) line where line not like 'owner to %')));

  elsif p_kind = 'trigger' then
    return case
      when p_declared is null then 'drop trigger ' || v_on
      when v_added <@ array['disabled', 'for replicas only'] and v_lost = '{}' then v_table || 'enable trigger ' || p_name
      else regexp_replace(p_declared, '^CREATE TRIGGER', 'create or replace trigger')
    end;
  elsif p_kind = 'policy' then
    return concat_ws('; ',
      'drop policy ' || case when p_present is not null then v_on end,
      'create policy ' || v_on || ' ' || replace(p_declared, chr(10), ' '));
  elsif p_kind = 'rule' then
    return 'drop rule ' || v_on;
  elsif p_kind = 'constraint' then
    return concat_ws('; ',
      v_table || 'drop constraint ' || case when p_present is not null then p_name end,
      v_table || 'add constraint ' || p_name || ' ' || p_declared);
  elsif p_kind = 'index' then
    return case when p_present = p_declared || chr(10) || 'not valid' then 'reindex index ' || p_name
      else concat_ws('; ', 'drop index ' || case when p_present is not null then p_name end, p_declared) end;
  elsif p_kind = 'publication' then
    return format('alter publication %s %s table %s', p_name, case when p_declared is null then 'drop' when p_present is null then 'add' else 'set' end, p_relation);

  -- what follows may hold rows: only what takes none away
  elsif p_declared is null or p_present is null then
    return null;
  elsif p_kind = 'column' then
    -- the type is the first line; how it is generated is for the migration to say
    if exists (select 1 from unnest(v_added || v_lost) line where line <> 'not null' and line not like 'default %') then
      return null;
    end if;
    return (
      select string_agg(statement, '; ')
        from (
          select v_column || 'drop ' || case when line = 'not null' then line else 'default' end from unnest(v_added) line
           where line = 'not null' or not exists (select 1 from unnest(v_lost) l where l like 'default %')
          union all
          select v_column || 'set ' || line from unnest(v_lost) line) s (statement));
  elsif p_kind in ('table', 'view', 'sequence') then
    return (
      select case when count(*) = count(statement) then string_agg(statement, '; ') end
        from (
          select case
                   when line = 'unlogged' then v_table || 'set logged'
                   when line like 'replica identity %' then v_table || 'replica identity default'
                   when line = 'row level security forced' then v_table || 'no force row level security'
                   when line like 'inherited by %' then format('alter table %s no inherit %s', substr(line, 14), p_relation)
                   when line like 'owner to %' then v_table || format('owner to %s', (select n.nspowner::regrole from pg_namespace n where n.nspname = 'tokenbook'))
                   when p_kind = 'view' and line ~ '^[a-z_]+=' then format('alter view %s reset (%s)', p_relation, split_part(line, '=', 1))
                 end as statement
            from unnest(v_added) line
           where not (p_kind = 'view' and split_part(line, '=', 1) in (select split_part(l, '=', 1) from unnest(v_lost) l where l ~ '^[a-z_]+='))
          union all
          select case when p_kind = 'view' and line ~ '^[a-z_]+=' then format('alter view %s set (%s)', p_relation, line) end
            from unnest(v_lost) line) s);
  end if;
  return null;
end
$$;
comment on function tokenbook.mend_shape is
  'The statements that make one thing of Tokenbook''s what it was declared to be; NULL where the migration that made it says how, and where rows could be lost.';
