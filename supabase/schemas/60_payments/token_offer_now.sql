/*
 * A computed field: what the catalogue says now of what a payment is for, beside the payment's own amount_cents,
 * currency and terms; for the admin who is about to approve it. differs names what has changed since it was asked for.
 * In SQL `p.token_offer_now`, over the API `select=token_offer_now`.
 * Its parameter has no name, so that it is a field and no rpc.
 * Caller: authenticated, service_role; it sees no more than the row it is given, and the catalogue.
 * Returns {amount_cents, currency, is_offered, terms, differs: [name, …]}.
 */
create function public.token_offer_now(public.token_payments)
returns jsonb
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select now.offer || jsonb_build_object('differs', array(
           select asked.name
             from jsonb_each($1.terms || jsonb_build_object('amount_cents', $1.amount_cents, 'currency', $1.currency))
                  as asked (name, value)
            where asked.value is distinct from (now.offer || (now.offer -> 'terms')) -> asked.name
            order by asked.name))
    from (
      select to_jsonb(p) as row from public.token_plans p where p.plan_type = $1.to_plan
      union all
      select to_jsonb(p) from public.token_packs p where p.pack_type = $1.pack_type) catalogue
   cross join lateral (
     select jsonb_build_object(
              'amount_cents', (catalogue.row ->> 'price_cents')::bigint * $1.quantity,
              'currency', catalogue.row -> 'currency',
              'is_offered', catalogue.row -> 'is_offered',
              'terms', coalesce(jsonb_object_agg(term.name, catalogue.row -> term.name), '{}')) as offer
       from jsonb_object_keys($1.terms) as term (name)) now
$$;
comment on function public.token_offer_now is
  'What the catalogue says now of what a payment is for: select p.token_offer_now from token_payments p. Returns {amount_cents, currency, is_offered, terms, differs (the names of what has changed since it was asked for)}.';
