/*
 * Payments that were paid at a provider and give nothing yet, because their user is not known or what was bought,
 * oldest first, each with its reason, in pages: for the next one give the created_at, provider and
 * provider_payment_id of the last row.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden, invalid_page.
 * Keeps: I11.
 */
-- Security definer: an admin reads other users' rows.
create function tokenbook.list_parked_token_payments(
  p_limit integer default 1000,
  p_after_created_at timestamptz default null,
  p_after_provider text default null,
  p_after_payment_id text default null
)
returns table (
  provider text, provider_payment_id text, user_id uuid, customer_id text, plan_type text, pack_type text, quantity integer,
  price_id text, amount_cents bigint, currency text, refunded_cents bigint, disputed_cents bigint,
  parked_reason text, explanation text, parked_details jsonb, created_at timestamptz
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.authorize_operator();
  if p_limit is null or p_limit not between 1 and 1000 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 1000"}');
  elsif num_nonnulls(p_after_created_at, p_after_provider, p_after_payment_id) not in (0, 3) then
    perform tokenbook.refuse('invalid_page', '{"field": "p_after_created_at", "rule": "all three of the last row, or none"}');
  end if;
  return query
  select f.provider, f.provider_payment_id, f.user_id, f.customer_id, f.plan_type, f.pack_type, f.quantity, f.price_id,
         f.amount_cents, f.currency, f.refunded_cents, f.disputed_cents,
         f.parked_reason, tokenbook.explain_parking(row(f.*)::tokenbook.provider_payments), f.parked_details, f.created_at
    from tokenbook.provider_payments f
   where f.parked_reason is not null and f.dismissed_at is null
     and (p_after_provider is null
       or (f.created_at, f.provider, f.provider_payment_id) > (p_after_created_at, p_after_provider, p_after_payment_id))
   order by f.created_at, f.provider, f.provider_payment_id
   limit p_limit;
end
$$;
comment on function tokenbook.list_parked_token_payments is
  'Payments that were paid at a provider and give nothing yet, because their user is not known or what was bought, oldest first. p_limit 1 to 1000 a page; p_after_created_at, p_after_provider and p_after_payment_id of the last row, for the next page. Returns provider, provider_payment_id, user_id, customer_id, plan_type, pack_type, quantity, price_id, amount_cents, currency, refunded_cents, disputed_cents, parked_reason, explanation (for people: what was expected and what came), parked_details (those facts: expected_cents, expected_currency; quantity, at_most; field, rule; error; other_payment_id, other_period_start, cycles_completed; from_balance_cents, credited_payment_id; already_paid_with), created_at. See assign_parked_token_payment and dismiss_parked_token_payment. For an admin or the server. Errors: not_authenticated, forbidden, invalid_page.';
