/*
 * A computed field: what the catalogue says now of what a payment is for, beside the payment's own amount_cents,
 * currency and terms; for whoever is about to approve it. differs names what has changed since it was asked for.
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
  select to_jsonb(o) || jsonb_build_object('differs', array(
           select asked.name
             from jsonb_each($1.terms || jsonb_build_object('amount_cents', $1.amount_cents, 'currency', $1.currency))
                  as asked (name, value)
            where asked.value is distinct from
                  (o.terms || jsonb_build_object('amount_cents', o.amount_cents, 'currency', o.currency)) -> asked.name
            order by asked.name))
    from tokenbook.find_offer($1.to_plan, $1.pack_type, $1.quantity) o
$$;
comment on function public.token_offer_now is
  'What the catalogue says now of what a payment is for: select token_offer_now from token_payments. {amount_cents, currency, is_offered, terms, differs: the names of what has changed since it was asked for}.';
