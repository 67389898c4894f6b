/*
 * Keeps what happens to the project's counter, for book_shadow_changes: a row for each user of a statement, in the
 * transaction that makes it. Its triggers are on the project's table, made by `tokenbook shadow --start`, with the names of
 * the columns, and what to do with a change: keep it, or refuse it.
 *
 * The project's write must not fail because of us, nor wait for a lock of the books: this only appends to a table
 * that is nobody else's, waits a tenth of a second at most where somebody has locked that, and catches classes of errors
 * by name. What could not be kept is a warning in the log, and a difference that `tokenbook shadow` lists.
 * By statement and not by row, so that a statement of half a million rows is one query and one subtransaction.
 * The columns are looked up when it runs: a trigger that named them would keep the project from dropping or altering
 * them. Without the columns it does nothing.
 * What the books themselves write to the counter is nothing new to them (tokenbook.shadow.written_by).
 * Caller: the triggers tokenbook_shadow….   Locks: nothing of the books.   Errors: old_counter_is_read_only, where refusing.
 */
create function tokenbook.note_shadow_change()
returns trigger
language plpgsql
volatile
security definer -- whoever writes the project's table may not write ours
set search_path = pg_catalog, pg_temp
set lock_timeout = '100ms'
as $$
declare
  c_amount constant text := format('coalesce(nullif(nullif(nullif(%I::numeric, ''NaN''), ''Infinity''), ''-Infinity''), 0)', tg_argv[1]);
  v_changes text;
  v_is_refused boolean := false;
begin
  begin
    if tg_op = 'TRUNCATE' then
      insert into tokenbook.shadow_changes (kind) values ('truncate');
      return null;
    end if;
    v_changes := concat_ws(' union all ',
      case when tg_op <> 'INSERT' then format('select %I::text as whose, %s as before, 0 as after from tokenbook_before', tg_argv[0], c_amount) end,
      case when tg_op <> 'DELETE' then format('select %I::text as whose, 0 as before, %s as after from tokenbook_after', tg_argv[0], c_amount) end);
    v_changes := 'select c.whose, sum(c.before) as before, sum(c.after) as after from (' || v_changes || ') c where c.whose is not null'
      || ' and not exists (select from tokenbook.shadow s where s.written_by = pg_current_xact_id_if_assigned())' -- @own-writes-are-known
      || ' group by c.whose having sum(c.before) <> sum(c.after)';
    if tg_argv[2] = 'refuse' then
      execute format('select exists (%s)', v_changes) into v_is_refused;
    else
      execute format('insert into tokenbook.shadow_changes (kind, whose, amount_before, amount_after) select ''change'', k.* from (%s) k', v_changes);
    end if;
  exception -- @faults-of-ours-are-caught begin
    when undefined_column then
      return null; -- the counter is gone, as it should be one day
    when lock_not_available or syntax_error_or_access_rule_violation or data_exception or integrity_constraint_violation
      or object_not_in_prerequisite_state or insufficient_resources or program_limit_exceeded or feature_not_supported
      or transaction_rollback or invalid_schema_name or plpgsql_error or system_error or internal_error
    then
      raise warning 'Tokenbook could not note a change of %.%: % %', tg_table_schema, tg_table_name, sqlstate, sqlerrm;
      return null; -- @faults-of-ours-are-caught end
  end;
  if v_is_refused then
    perform tokenbook.refuse('old_counter_is_read_only',
      jsonb_build_object('table', format('%I.%I', tg_table_schema, tg_table_name), 'column', tg_argv[1]));
  end if;
  return null;
end
$$;
comment on function tokenbook.note_shadow_change is
  'Trigger on the project''s counter, while tokenbook shadow or switch runs: keeps what changes, for book_shadow_changes, or refuses it. Its own faults never block the project''s write.';
