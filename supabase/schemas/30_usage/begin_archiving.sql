/*
 * Before uses go into an archive or come out of it: nobody counts them until the transaction ends. Refused while the usage
 * is being split into partitions: what is deleted meanwhile would be in those that are to come.
 * Caller: tokenbook.archive_uses, restore_uses.   Locks: the archive, the marks, token_usage against being split.
 * Returns whether everyone's uses are counted as far as the archive goes.   Errors: invalid_usage_archive.
 */
create function tokenbook.begin_archiving(p_digest text)
returns boolean
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_archive tokenbook.usage_archives;
begin
  select a.* into v_archive from tokenbook.usage_archives a where a.digest = p_digest for update;
  if not found then
    perform tokenbook.refuse('invalid_usage_archive', '{"rule": "a file that was archived here, as it was written, and not restored since"}');
  end if;
  perform tokenbook.require_unsplit('invalid_usage_archive', p_with_ledger => false);
  lock table tokenbook.usage_marks in share row exclusive mode;
  return exists (
    select 1 from tokenbook.usage_marks m
     where m.user_id = '00000000-0000-0000-0000-000000000000' and m.counted_until >= v_archive.used_before); -- @counted-before
end
$$;
comment on function tokenbook.begin_archiving is
  'Lets nobody count uses until the transaction ends; says whether everyone''s are counted as far as the archive goes.';
