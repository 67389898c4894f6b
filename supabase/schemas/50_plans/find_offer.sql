/*
 * A plan or a pack as the catalogue sells it now: what so many of it cost, and what it gives. Exactly one of
 * the two is named. NULL where there is none; one that is not offered any more is found too, and is_offered says so.
 * terms: what a payment keeps of it from the moment it was asked for (token_payments.terms), by the names of the
 * catalogue's columns, which is what token_offer_now looks them up by.
 * Caller: internal.
 */
create function tokenbook.find_offer(
  p_plan_type text,
  p_pack_type text,
  p_quantity integer default 1,
  out amount_cents bigint,
  out currency text,
  out is_offered boolean,
  out terms jsonb
)
returns record
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  select o.price_cents * p_quantity, o.currency, o.is_offered, o.terms
    into amount_cents, currency, is_offered, terms
    from (
      select p.price_cents, p.currency, p.is_offered, jsonb_build_object(
               'name', p.name, 'tokens', p.tokens, 'grant_lifetime_days', p.grant_lifetime_days,
               'issue_every', p.issue_every, 'issue_on', p.issue_on, 'refill_to', p.refill_to,
               'articles_limit', p.articles_limit, 'storage_gb', p.storage_gb, 'features', p.features) as terms
        from public.token_plans p
       where p.plan_type = p_plan_type
      union all
      select p.price_cents, p.currency, p.is_offered, jsonb_build_object(
               'name', p.name, 'tokens', p.tokens, 'lifetime_days', p.lifetime_days, 'priority', p.priority)
        from public.token_packs p
       where p.pack_type = p_pack_type) o;
end
$$;
comment on function tokenbook.find_offer is
  'A plan or a pack as the catalogue sells it now: what so many cost, whether it is offered, and its terms.';
