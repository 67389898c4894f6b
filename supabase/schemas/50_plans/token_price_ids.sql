/*
 * What is sold under which name of a provider, present and former ones: one row a name. What webhooks
 * ask; so what a price stands for is said once, for plans and packs and for both providers.
 */
create view public.token_price_ids
with (security_invoker = true)
as
select 'stripe' as provider, p.stripe_price_id as price_id, p.plan_type, null::text as pack_type, true as is_current
  from public.token_plans p
 where p.stripe_price_id is not null
union all
select 'stripe', former.id, p.plan_type, null, false
  from public.token_plans p cross join lateral unnest(p.former_stripe_price_ids) as former (id)
union all
select 'paypal', p.paypal_plan_id, p.plan_type, null, true
  from public.token_plans p
 where p.paypal_plan_id is not null
union all
select 'paypal', former.id, p.plan_type, null, false
  from public.token_plans p cross join lateral unnest(p.former_paypal_plan_ids) as former (id)
union all
select 'stripe', p.stripe_price_id, null, p.pack_type, true
  from public.token_packs p
 where p.stripe_price_id is not null
union all
select 'stripe', former.id, null, p.pack_type, false
  from public.token_packs p cross join lateral unnest(p.former_stripe_price_ids) as former (id);
comment on view public.token_price_ids is
  'What is sold under which id of a payment provider, present and former ones. Read-only.';
comment on column public.token_price_ids.provider is 'stripe or paypal.';
comment on column public.token_price_ids.price_id is 'The price at Stripe, the plan at PayPal.';
comment on column public.token_price_ids.plan_type is 'The plan that it is; or a pack.';
comment on column public.token_price_ids.pack_type is 'The pack that it is; or a plan.';
comment on column public.token_price_ids.is_current is 'Whether it is what the price is called now; false: what it was called before.';

create trigger token_price_ids_refuse_writes
  instead of insert or update or delete on public.token_price_ids
  for each row execute function tokenbook.refuse_view_write();
