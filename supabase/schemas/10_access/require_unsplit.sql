/*
 * Rows may be taken out of the usage, and of the ledger, or their keys be changed: neither is being changed into other partitions (npx tokenbook
 * partition), which would have the rows still. Until the transaction ends no such change begins.
 * Caller: begin_archiving, require_room, discard_books, advance_test_clock.   Locks: the tables against that.   Errors: p_slug.
 */
create function tokenbook.require_unsplit(p_slug text, p_with_ledger boolean)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- a change that begins waits, or has begun
  if p_with_ledger then
    lock table public.token_transactions in row exclusive mode;
  end if;
  lock table public.token_usage in row exclusive mode;
  if to_regclass('tokenbook.token_usage_copying') is not null -- @rows-stay-while-split begin
    or p_with_ledger and to_regclass('tokenbook.token_transactions_copying') is not null
  then -- @rows-stay-while-split end
    perform tokenbook.refuse(p_slug, '{"rule": "tables that are not being changed into other partitions"}');
  end if;
end
$$;
comment on function tokenbook.require_unsplit is
  'Refuses to take rows out of the usage, or of the ledger too, while it is being changed into other partitions.';
