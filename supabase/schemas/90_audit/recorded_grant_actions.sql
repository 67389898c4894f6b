/*
 * The names that grants have in what was recorded, before the books and since: those of the ledger, and
 * the one that packs had before.
 * Caller: internal.
 */
create function tokenbook.recorded_grant_actions()
returns text[]
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return tokenbook.grant_action_types() || 'pack_purchase'::text;
end
$$;
comment on function tokenbook.recorded_grant_actions is
  'The names that grants have in what was recorded, before the books and since.';
