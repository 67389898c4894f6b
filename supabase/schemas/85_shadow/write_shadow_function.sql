/*
 * Writes tokenbook.note_shadow_change(), the function of the triggers that `tokenbook shadow` puts on the project's table,
 * for these two columns of it: it keeps what happens to the counter, a row for each user of a statement, in the transaction
 * that does it; with the argument `refuse` it refuses it. Looked up by name at run time the columns would cost every
 * write of the project's five times as much.
 *
 * The project's write must not fail because of us, nor wait for a lock of the books: the function only appends to a table
 * of its own, waits a tenth of a second at most where somebody has locked that, and catches classes of errors
 * by name. What could not be kept is a warning in the log, and a difference that `tokenbook shadow` lists.
 * By statement and not by row, so that a statement of half a million rows is one query and one subtransaction.
 * Its text names the columns and nothing depends on them: the project may drop and alter them. Without them it does nothing.
 * What the books themselves write to the counter is nothing new to them (tokenbook.shadow.written_by); what a trigger of the
 * project's writes to another row because of it is.
 * It is executable by nobody: triggers need no right to it. `tokenbook shadow --stop` drops it.
 * Caller: the database owner (`tokenbook shadow`).   Locks: nothing.
 */
create function tokenbook.write_shadow_function(p_user_column text, p_amount_column text)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  -- through text: a cast of real to numeric keeps six digits, and the column's type may change
  c_row constant text := format(
    '%I::text as whose, coalesce(nullif(nullif(nullif(%I::text::numeric, ''NaN''), ''Infinity''), ''-Infinity''), 0)', -- @reals-keep-their-digits
    p_user_column, p_amount_column);
  c_changes constant text := $changes$
        select c.whose, sum(c.before) as before, sum(c.after) as after
          from (select o.whose, o.amount as before, 0 as after from (select %1$s as amount from tokenbook_before) o
                union all
                select n.whose, 0, n.amount from (select %1$s as amount from tokenbook_after) n) c
         where c.whose is not null
           and not (%2$s exists (select 1 from tokenbook.shadow s where s.written_by = pg_current_xact_id_if_assigned())) -- @own-writes-are-known
         group by c.whose
        having sum(c.before) <> sum(c.after)
  $changes$;
  -- of what our write sets off, another statement by a trigger of the project's is the app's, as ever; that it is refused
  -- where the counter is closed would keep us from writing it at all
  c_noted constant text := format(c_changes, c_row, 'pg_trigger_depth() = 1 and'); -- @writes-of-their-triggers
  c_refused constant text := format(c_changes, c_row, '');
  c_body constant text := format($write$
declare
  v_is_refused boolean := false;
begin
  begin
    if tg_op = 'TRUNCATE' then
      insert into tokenbook.shadow_changes (kind) values ('truncate');
    elsif tg_op = 'INSERT' then
      insert into tokenbook.shadow_changes (kind, whose, amount_before, amount_after)
      select 'change', n.whose, 0, sum(n.amount)
        from (select %1$s as amount from tokenbook_after) n
       where n.whose is not null
       group by n.whose
      having sum(n.amount) <> 0;
    elsif tg_op = 'DELETE' then
      insert into tokenbook.shadow_changes (kind, whose, amount_before, amount_after)
      select 'change', o.whose, sum(o.amount), 0
        from (select %1$s as amount from tokenbook_before) o
       where o.whose is not null
       group by o.whose
      having sum(o.amount) <> 0;
    elsif tg_argv[0] = 'refuse' then -- @read-only-is-refused
      select exists (%3$s) into v_is_refused;
    else
      insert into tokenbook.shadow_changes (kind, whose, amount_before, amount_after)
      select 'change', k.* from (%2$s) k;
    end if;
  exception -- @our-faults-are-caught begin
    when undefined_column then
      return null; -- the counter is gone, as it should be one day
    when lock_not_available or syntax_error_or_access_rule_violation or data_exception or integrity_constraint_violation
      or object_not_in_prerequisite_state or insufficient_resources or program_limit_exceeded or feature_not_supported
      or transaction_rollback or invalid_schema_name or plpgsql_error or system_error or internal_error
    then
      raise warning 'Tokenbook could not note a change of %%.%%: %% %%', tg_table_schema, tg_table_name, sqlstate, sqlerrm;
      return null; -- @our-faults-are-caught end
  end;
  if v_is_refused then
    perform tokenbook.refuse('old_counter_is_read_only',
      jsonb_build_object('table', format('%%I.%%I', tg_table_schema, tg_table_name), 'column', %4$L));
  end if;
  return null;
end
  $write$, c_row, c_noted, c_refused, p_amount_column);
begin
  execute format($write$
create or replace function tokenbook.note_shadow_change()
returns trigger
language plpgsql
volatile
security definer -- @noted-with-our-rights: the role that writes the project's table may not write ours
set search_path = pg_catalog, pg_temp
set lock_timeout = '100ms'
set extra_float_digits = 1
as %L
  $write$, c_body);
  comment on function tokenbook.note_shadow_change() is
    'Trigger on the project''s counter, while tokenbook shadow or switch runs: keeps what changes, for book_shadow_changes, or refuses it. Its own faults never block the project''s write.';
  perform tokenbook.withdraw_rights('function', 'tokenbook.note_shadow_change()'::regprocedure);
end
$$;
comment on function tokenbook.write_shadow_function is
  'Writes tokenbook.note_shadow_change(), the function of the triggers on the project''s counter, for these columns of it. For the database owner.';
