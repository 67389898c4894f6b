/*
 * What the buyer paid for the tokens of a grant: tokens of them cost cents, so that n of them cost n * cents / tokens.
 * Read from the payment as it is: its amount less what went back and what disputes withhold, spread over the tokens that it
 * gave less those that went with the money. Of a plan that gives its tokens over time, the share of the slots that have
 * begun. cents is 0 where they were given away, and NULL where nobody knows: of what came in when the books opened.
 * Caller: internal.
 */
create function tokenbook.worth_of_grant(
  p_grant public.token_balances,
  out cents numeric,
  out tokens numeric,
  out currency text,
  out payment_id uuid
)
returns record
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_money_of constant uuid := tokenbook.money_of(p_grant);
begin
  cents := 0;
  tokens := 1;
  if v_money_of is null then
    return;
  end if;
  select greatest(p.amount_cents - p.refunded_cents - p.disputed_cents, 0)::numeric * coalesce(s.slots, 1), -- @basis-less-refunds
         greatest(p.tokens - p.tokens_clawed_back, 1)::numeric * coalesce(s.slots_in_all, 1), p.currency, p.id
    into cents, tokens, currency, payment_id
    from public.token_payments p
    left join tokenbook.sales s on s.user_id = p.user_id and s.sale_id = p.id and s.slots_in_all is not null -- @slots-are-a-share
   where p.user_id = p_grant.user_id and p.id = v_money_of;
  if payment_id is null then
    select b.cost_basis_cents, b.tokens_granted, b.currency into cents, tokens, currency
      from public.token_balances b
     where b.user_id = p_grant.user_id and b.id = v_money_of;
  end if;
end
$$;
comment on function tokenbook.worth_of_grant is
  'What the buyer paid for the tokens of a grant: n of them cost n * cents / tokens; cents NULL where nobody knows.';
