/*
 * What to answer to a write to a view that cannot be written to: what a table answers. Nobody has the right to
 * write to them, but Postgres asks of a view whether it can be written to at all before it asks who may; the
 * API would answer that with a 500.
 */
create function tokenbook.refuse_view_write()
returns trigger
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.refuse('forbidden');
  return null;
end
$$;
comment on function tokenbook.refuse_view_write is 'Trigger: refuses a write to a view, also by a role that may write to everything.';
