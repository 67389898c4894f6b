/*
 * Keeps what is ours, as it is now, as a function: check_token_installation compares with it what is there later.
 * As with the rights (95_privileges.sql) it is taken from the catalogue, and a dump of the schema has it.
 * Caller: 96_shape.sql; a release that changes anything of ours, at its end; and with p_relations, of these alone, what is
 * declared otherwise staying as it is, npx tokenbook partition.
 */
create function tokenbook.declare_shape(p_relations text[] default null)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_rows jsonb := (select jsonb_agg(s.*) from tokenbook.present_shape() s);
begin
  if p_relations is not null then -- @declares-these-alone
    select jsonb_agg(r.*) into v_rows
      from (
        select s.* from jsonb_to_recordset(v_rows) as s (kind text, relation text, name text, definition text)
         where s.relation = any (p_relations)
        union all
        -- of a table that these are partitions of: which of them it has now
        select d.kind, d.relation, d.name,
               case when d.kind <> 'table' then d.definition else coalesce((
                 select string_agg(l.line, chr(10) order by l.line like 'inherited by %', substring(l.line from '^inherited by (.*)'), l.nth)
                   from (
                     select o.line, o.nth from string_to_table(d.definition, chr(10)) with ordinality as o (line, nth)
                      where substring(o.line from '^inherited by (.*)') = any (p_relations) is not true
                     union all
                     select n.line, 0 from string_to_table(s.definition, chr(10)) as n (line)
                      where substring(n.line from '^inherited by (.*)') = any (p_relations)) l), '') end
          from tokenbook.declared_shape() d
          left join jsonb_to_recordset(v_rows) as s (kind text, relation text, name text, definition text)
            on (s.kind, s.relation, s.name) = (d.kind, d.relation, d.name)
         where d.relation <> all (p_relations)) r;
  end if;
  execute format(
    'create or replace function tokenbook.declared_shape() returns table (kind text, relation text, name text, definition text) '
    'language plpgsql immutable security invoker set search_path = pg_catalog, pg_temp as %L',
    format('begin return query values %s; end',
      (select string_agg(format('(%L, %L, %L, %L)', s.kind, s.relation, s.name, s.definition), ', '
                         order by s.kind collate "C", s.relation collate "C", s.name collate "C")
         from jsonb_to_recordset(v_rows) as s (kind text, relation text, name text, definition text))));
  comment on function tokenbook.declared_shape is
    'What is Tokenbook''s, as tokenbook.present_shape said it when it was made: kind, relation, name, definition.';
  perform tokenbook.withdraw_rights('function', 'tokenbook.declared_shape()'::regprocedure);
end
$$;
comment on function tokenbook.declare_shape is
  'Keeps what is Tokenbook''s, as it is now, as tokenbook.declared_shape(), for check_token_installation.';
