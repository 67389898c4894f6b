/*
 * Rows may be taken out of these tables, or put back in a way that no trigger copies: none of them is being changed into
 * other partitions (npx tokenbook partition), which would have the rows still. Until the transaction ends no such change
 * begins.
 * Caller: begin_archiving, require_room, discard_books.   Locks: the tables against that.   Errors: p_slug.
 */
create function tokenbook.require_unsplit(p_slug text, p_tables text[])
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_table text;
begin
  foreach v_table in array p_tables loop
    execute format('lock table public.%I in row exclusive mode', v_table); -- a change that begins waits, or has begun
    if to_regclass(format('tokenbook.%I', v_table || '_copying')) is not null then -- @rows-stay-while-split
      perform tokenbook.refuse(p_slug, jsonb_build_object(
        'rule', format('%s that is not being changed into other partitions', v_table)));
    end if;
  end loop;
end
$$;
comment on function tokenbook.require_unsplit is
  'Refuses to take rows out of tables of which one is being changed into other partitions.';
