/*
 * Takes the trigger of tokenbook.charge_tokens_on_insert off a table again; what was paid stays paid. Without one it
 * does nothing.
 * Caller: the owner of the database and the table.   Locks: the table.   Returns whether there was one.
 */
create function tokenbook.stop_charging_tokens_on_insert(p_table regclass)
returns boolean
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (
    select 1 from pg_trigger g
     where g.tgrelid = p_table and g.tgname = 'tokenbook_charge' and g.tgfoid = 'tokenbook.charge_for_row()'::regprocedure)
  then
    return false;
  end if;
  execute format('drop trigger tokenbook_charge on %s', p_table);
  return true;
end
$$;
comment on function tokenbook.stop_charging_tokens_on_insert is
  'Takes the trigger tokenbook_charge off a table of the project''s again; what was paid stays paid. For the database owner. Returns whether there was one.';
