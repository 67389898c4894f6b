/*
 * After it: what is counted of these users and not as far is counted again, and the archive has so many more uses.
 * Caller: tokenbook.archive_uses, restore_uses.
 */
create function tokenbook.end_archiving(p_digest text, p_user_ids uuid[], p_uses bigint)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  with unmarked as (
    delete from tokenbook.usage_marks m
     using tokenbook.usage_archives a
     where a.digest = p_digest and m.user_id = any (p_user_ids) and m.counted_until < a.used_before -- @counted-again
    returning m.user_id
  )
  delete from tokenbook.usage_totals n using unmarked m where n.user_id = m.user_id;
  update tokenbook.usage_archives a set uses_archived = a.uses_archived + p_uses where a.digest = p_digest;
end
$$;
comment on function tokenbook.end_archiving is
  'Has reports count again what is counted in part of these users, and says how many uses of the archive are out of token_usage.';
