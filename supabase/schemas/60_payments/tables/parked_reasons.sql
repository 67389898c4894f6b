/*
 * Why a payment may wait for an admin, each reason with a sentence for people. A new one is added here, and to
 * ParkedReason in supabase/functions/_shared/facts.ts.
 * Caller: internal, and CHECKs.
 */
create function tokenbook.parked_reasons()
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return '{
    "user_unknown": "Nothing says which user paid, or there is no such user.",
    "price_unknown": "What was paid for is nothing in the catalogue: no plan and no pack has that price id or name.",
    "quantity": "A plan was bought more than once, or more packs than one payment may buy.",
    "proration": "It is the difference that a change in mid-period costs, not the price of a plan.",
    "amount_differs": "The amount is not the price of what was named.",
    "currency_differs": "The currency is not the one of what was named.",
    "credited": "Part of it is a credit that names nothing which was paid for before: what it was bought with is not known to be money.",
    "several_things": "Several things were bought in one payment.",
    "nothing_paid": "Nothing was paid.",
    "setup_fee": "It is the setup fee of a subscription, which pays for no period.",
    "nothing_named": "Nothing says what was bought.",
    "items_unknown": "Stripe could not be asked what was bought: stripe-webhook has no STRIPE_SECRET_KEY. Set it and let Stripe send the event again, or assign the payment."
  }';
end
$$;
comment on function tokenbook.parked_reasons is
  'Why a provider''s payment may wait for an admin: {reason: a sentence for people}.';
