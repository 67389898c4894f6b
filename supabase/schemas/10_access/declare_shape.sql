/*
 * Keeps what is ours, as it is now, as a function: check_token_installation compares with it what is there later.
 * As with the rights (95_privileges.sql) it is taken from the catalogue, and a dump of the schema has it.
 * Caller: 96_shape.sql; a release that changes anything of ours, at its end; npx tokenbook partition.
 */
create function tokenbook.declare_shape()
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  execute format(
    'create or replace function tokenbook.declared_shape() returns table (kind text, relation text, name text, definition text) '
    'language plpgsql immutable security invoker set search_path = pg_catalog, pg_temp as %L',
    format('begin return query values %s; end',
      (select string_agg(format('(%L, %L, %L, %L)', s.kind, s.relation, s.name, s.definition), ', '
                         order by s.kind collate "C", s.relation collate "C", s.name collate "C")
         from tokenbook.present_shape() s)));
  comment on function tokenbook.declared_shape is
    'What is Tokenbook''s, as tokenbook.present_shape said it when it was made: kind, relation, name, definition.';
  perform tokenbook.withdraw_rights('function', 'tokenbook.declared_shape()'::regprocedure);
end
$$;
comment on function tokenbook.declare_shape is
  'Keeps what is Tokenbook''s, as it is now, as tokenbook.declared_shape(), for check_token_installation.';
