/*
 * The second line behind the privileges: the ledger's owner (a migration, the SQL editor)
 * cannot change it by accident either. Correctness does not rest on it; where the tables are
 * distributed over machines, which allows no triggers, drop it.
 */
create function tokenbook.keep_ledger_append_only()
returns trigger
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op = 'UPDATE' and current_setting('tokenbook.erasing', true) = 'yes' then -- @only-to-erase
    return null; -- tokenbook.forget_token_user, which puts nothing in the place of words but that they are erased
  elsif tg_op = 'UPDATE' and current_setting('tokenbook.moving_past', true) = 'yes' then
    return null; -- tokenbook.move_past, which moves the whole of a test user's past
  elsif tg_op = 'DELETE' and current_setting('tokenbook.moving_books', true) = 'yes' then
    return null; -- tokenbook.discard_books, of a user whose books are whole in another project
  end if;
  perform tokenbook.refuse('ledger_is_append_only');
  return null;
end
$$;
comment on function tokenbook.keep_ledger_append_only is 'Trigger: refuses update, delete and truncate of the ledger, and of what was changed beside it.';

create trigger changes_keep_append_only
  before update or delete or truncate on tokenbook.changes
  for each statement execute function tokenbook.keep_ledger_append_only();

create trigger token_transactions_keep_append_only
  before update or delete or truncate on public.token_transactions
  for each statement execute function tokenbook.keep_ledger_append_only();

-- a statement that names the partition itself
create trigger token_transactions_keep_append_only
  before update or delete or truncate on tokenbook.token_transactions_1_0
  for each statement execute function tokenbook.keep_ledger_append_only();
