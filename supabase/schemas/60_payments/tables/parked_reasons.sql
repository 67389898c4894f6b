/*
 * Why a payment may wait for an admin, each reason with a sentence for people; what it is in a case,
 * tokenbook.explain_parking adds. A new one is added here, and to
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
    "quantity": "More were bought than one payment may buy: a plan once, packs up to 1,000 times.",
    "quantity_unknown": "How many were bought is not said, is zero, or is no whole number.",
    "proration": "It is the difference that a change in mid-period costs, not the price of a plan.",
    "amount_differs": "The amount is not the price of what was named.",
    "currency_differs": "The currency is not the one of what was named.",
    "credited": "Part of it is a credit that names nothing which was paid for before: what it was bought with is not known to be money.",
    "paid_with_credit": "It was paid from the customer''s balance while a credit of theirs waits that names nothing which was paid for: what is in that balance is not known to be money. Decide on the credit, and this is given, or assign this one by itself.",
    "several_things": "Several things were bought in one payment.",
    "setup_fee": "It is the setup fee of a subscription, which pays for no period.",
    "second_in_period": "Another payment of its subscription has been booked for that period, and the plan''s setup fee is as high as its price, or not known: one of the two may be the fee, which pays for no period. Assign it if it is the price (a payment that had failed and was made up for); dismiss it if it is the fee.",
    "nothing_named": "Nothing says what was bought.",
    "items_unknown": "The provider could not be asked what was bought: STRIPE_SECRET_KEY (the app, at PayPal) is not set or may not read it. Mend that and let the provider send the event again, or assign the payment.",
    "not_ours": "It is a payment of the project''s own, of no checkout and no invoice: nothing says what was bought.",
    "unreadable": "The provider''s event, or its answer about it, cannot be read.",
    "refused": "The books refuse what was bought."
  }';
end
$$;
comment on function tokenbook.parked_reasons is
  'Why a provider''s payment may wait for an admin: {reason: a sentence for people}.';
