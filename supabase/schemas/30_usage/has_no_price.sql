/*
 * Whether a model has no price at a moment, where others have one: while the table's file is empty, no model has. Deleted rows
 * may leave a file that is not empty; tokenbook.meet_unknown_model, which acts on the answer, looks for a row.
 * Caller: internal.
 */
create function tokenbook.has_no_price(p_model text, p_at timestamptz)
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return pg_relation_size('public.token_model_prices') > 0
    and not exists (select 1 from public.token_model_prices p where p.model = p_model and p.valid_from <= p_at);
end
$$;
comment on function tokenbook.has_no_price is 'Whether a model has no price at a moment, where others have one.';
