/*
 * Refuses a catalogue in which one id of a provider stands for two things, or twice for one: a payment at it
 * would be ambiguous. Called after the catalogue was written, under the settings' lock.
 * Caller: internal.   Errors: p_slug (invalid_plan, invalid_pack).
 */
create function tokenbook.check_price_ids(p_slug text)
returns void
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_provider text;
begin
  select i.provider into v_provider
    from public.token_price_ids i
   group by i.provider, i.price_id
  having count(*) > 1
   limit 1;
  if v_provider is not null then
    perform tokenbook.refuse(p_slug, jsonb_build_object(
      'field', case v_provider when 'stripe' then 'stripe_price_id' else 'paypal_plan_id' end,
      'rule', 'an id, now or formerly, of nothing else'));
  end if;
end
$$;
comment on function tokenbook.check_price_ids is
  'Refuses a catalogue in which one id of a provider stands for more than one thing.';
