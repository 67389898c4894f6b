/*
 * The triggers on the project's counter while what is written there is booked. Where it is refused there is only that of updates.
 * Caller: check_token_installation, and `tokenbook shadow`, which makes and drops them by these names.
 */
create function tokenbook.shadow_triggers()
returns text[]
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return array['tokenbook_shadow_delete', 'tokenbook_shadow_insert', 'tokenbook_shadow_truncate', 'tokenbook_shadow_update'];
end
$$;
comment on function tokenbook.shadow_triggers is
  'The names of the triggers on the project''s counter, while a shadow runs.';
