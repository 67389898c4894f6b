/*
 * A refusal as the answer to one item of a batch: what would have been raised, had it come alone.
 * Fields have the names that they have in the item.
 * Caller: internal.
 */
create function tokenbook.describe_item_error(p_slug text, p_facts text, p_hint text)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object(
    'success', false,
    'error', jsonb_build_object('code', p_slug, 'hint', p_hint)
      || replace(coalesce(nullif(p_facts, ''), '{}'), '"field": "p_', '"field": "')::jsonb);
end
$$;
comment on function tokenbook.describe_item_error is
  'A refusal as the answer to one item of a batch: {success: false, error: {code, hint, …facts}}.';
