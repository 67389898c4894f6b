/*
 * Demo data: three packs beside the plans, a user on each plan, one with a payment that waits for approval, one who
 * spent everything, one with a month behind them, and an administrator; a payment that is parked, and grants that run
 * out soon; prices of three models; password `tokenbook-demo` for each. Written through the same functions as everything
 * else, so the books are right, and a user with a plan or a pack that is sold has paid for it; run again, it
 * changes nothing. For local use only. Books that are wrong on purpose: `npm run demo:broken`.
 */
insert into auth.users
  (id, aud, role, email, encrypted_password, email_confirmed_at, raw_app_meta_data, raw_user_meta_data,
   confirmation_token, recovery_token, email_change_token_new, email_change, created_at, updated_at)
select u.id, 'authenticated', 'authenticated', u.email,
       extensions.crypt('tokenbook-demo', extensions.gen_salt('bf', 4)), now(), u.app_metadata, '{}',
       '', '', '', '', now(), now()
  from (values
    ('a11ce000-0000-4000-8000-000000000001'::uuid, 'alice@example.com', '{"provider": "email", "providers": ["email"]}'::jsonb),
    ('b0b00000-0000-4000-8000-000000000002', 'bob@example.com', '{"provider": "email", "providers": ["email"]}'),
    ('ad000000-0000-4000-8000-000000000003', 'admin@example.com', '{"provider": "email", "providers": ["email"], "role": "admin"}'),
    ('ca401000-0000-4000-8000-000000000004', 'carol@example.com', '{"provider": "email", "providers": ["email"]}'),
    ('dafe0000-0000-4000-8000-000000000005', 'dave@example.com', '{"provider": "email", "providers": ["email"]}'),
    ('e4100000-0000-4000-8000-000000000006', 'erin@example.com', '{"provider": "email", "providers": ["email"]}'),
    ('f4a00000-0000-4000-8000-000000000007', 'frank@example.com', '{"provider": "email", "providers": ["email"]}'),
    ('94ace000-0000-4000-8000-000000000008', 'grace@example.com', '{"provider": "email", "providers": ["email"]}'),
    ('4e1d1000-0000-4000-8000-000000000009', 'heidi@example.com', '{"provider": "email", "providers": ["email"]}'),
    ('14100000-0000-4000-8000-00000000000a', 'ivy@example.com', '{"provider": "email", "providers": ["email"]}')
  ) as u (id, email, app_metadata)
on conflict do nothing;

insert into auth.identities (id, provider, provider_id, user_id, identity_data, created_at, updated_at)
select u.id, 'email', u.id::text, u.id,
       jsonb_build_object('sub', u.id, 'email', u.email, 'email_verified', true), now(), now()
  from auth.users u
 where u.email like '%@example.com'
on conflict do nothing;

insert into tokenbook.admins (user_id, added_by)
values ('ad000000-0000-4000-8000-000000000003', 'demo data')
on conflict do nothing;

select public.set_token_pack('pack_120k', '{"name": "120,000 tokens", "tokens": 120000, "price_cents": 400}', 'demo data'),
       public.set_token_pack('pack_500k', '{"name": "500,000 tokens", "tokens": 500000, "price_cents": 900}', 'demo data'),
       public.set_token_pack('pack_2m',
         '{"name": "2 million tokens, for a year", "tokens": 2000000, "lifetime_days": 365, "price_cents": 2900}', 'demo data');

-- What three models cost, of the snapshot that `npx tokenbook prices sync` brings whole
select public.set_token_model_price('gpt-5-mini',
         '{"input_cents_per_million": 25, "cached_input_cents_per_million": 2.5, "output_cents_per_million": 200}', 'demo data', p_source => 'synced'),
       public.set_token_model_price('claude-sonnet-4-5',
         '{"input_cents_per_million": 300, "cached_input_cents_per_million": 30, "output_cents_per_million": 1500}', 'demo data', p_source => 'synced'),
       public.set_token_model_price('gemini-2.5-flash',
         '{"input_cents_per_million": 30, "cached_input_cents_per_million": 3, "output_cents_per_million": 250}', 'demo data', p_source => 'synced');

do $$
declare
  v_paid record;
begin
  if exists (select from public.token_transactions t where t.idempotency_key = 'demo-alice-trial') then
    return; -- the demo has been booked
  end if;

  -- Alice, free: an older grant, and the pack of below, so that 150,000 tokens are spent across several grants
  perform public.grant_tokens('a11ce000-0000-4000-8000-000000000001', 100000, 'trial',
    p_granted_at => now() - interval '720 hours', p_reason => 'trial month', p_idempotency_key => 'demo-alice-trial');

  -- Who paid at a provider: what its webhook says of it. Alice bought a pack, the others their plans
  for v_paid in
    select b.user_id, b.name, b.provider, b.pack_type, b.plan_type, coalesce(k.price_cents, p.price_cents) as price_cents
      from (values
        ('a11ce000-0000-4000-8000-000000000001', 'alice', 'stripe', 'pack_500k', null),
        ('ca401000-0000-4000-8000-000000000004', 'carol', 'paypal', null, 'annual'),
        ('e4100000-0000-4000-8000-000000000006', 'erin', 'stripe', null, 'professional'),
        ('f4a00000-0000-4000-8000-000000000007', 'frank', 'stripe', null, 'grow')
      ) as b (user_id, name, provider, pack_type, plan_type)
      left join public.token_packs k using (pack_type)
      left join public.token_plans p using (plan_type)
  loop
    perform public.record_token_payment_event(v_paid.provider, 'demo-event-' || v_paid.name,
      case v_paid.provider when 'paypal' then 'PAYMENT.SALE.COMPLETED' else 'invoice.paid' end, 'demo-payment-' || v_paid.name,
      jsonb_build_object('kind', 'paid', 'occurred_at', now(), 'user_id', v_paid.user_id, 'customer_id', 'demo-customer-' || v_paid.name,
        'pack_type', v_paid.pack_type, 'plan_type', v_paid.plan_type, 'quantity', 1,
        'amount_cents', v_paid.price_cents, 'currency', 'usd')
      || case when v_paid.plan_type is null then '{}'
           else jsonb_build_object('subscription_id', 'demo-subscription-' || v_paid.name, 'period_start', now()) end);
  end loop;

  -- Somebody paid for a pack by a link that names no user: it is parked until an admin says whose it is
  perform public.record_token_payment_event('stripe', 'demo-event-parked', 'checkout.session.completed', 'demo-payment-parked',
    jsonb_build_object('kind', 'paid', 'occurred_at', now(), 'customer_id', 'demo-customer-unknown',
      'pack_type', 'pack_500k', 'quantity', 1, 'amount_cents', 900, 'currency', 'usd'));

  -- Bob, 28-day membership, paid by hand: most of it used
  perform public.approve_token_payment('b0b00000-0000-4000-8000-000000000002', (
    public.create_token_payment('b0b00000-0000-4000-8000-000000000002', '28day', 'demo-bob-plan') ->> 'payment_id')::uuid, 'bank transfer');
  perform public.deduct_tokens_with_fifo('b0b00000-0000-4000-8000-000000000002', 597500, 'chat_conversation', 'demo-bob-chat');

  -- Erin and Frank have used a little
  perform public.deduct_tokens_with_fifo('e4100000-0000-4000-8000-000000000006', 300, 'seo_title', 'demo-erin-title');
  perform public.track_token_usage('f4a00000-0000-4000-8000-000000000007', 'chat_conversation', 'gpt-5-mini',
    p_input_tokens => 52000, p_output_tokens => 8000, p_cached_tokens => 30000, p_idempotency_key => 'demo-frank-chat');
  perform public.track_token_usage('f4a00000-0000-4000-8000-000000000007', 'chat_conversation', 'claude-sonnet-4-5',
    p_input_tokens => 9000, p_output_tokens => 3000, p_idempotency_key => 'demo-frank-draft');

  -- Grace, on trial; Erin and Carol were given something for a few weeks
  perform public.change_token_plan('94ace000-0000-4000-8000-000000000008', 'trial', null, null, 'demo-grace-plan');
  perform public.grant_tokens('e4100000-0000-4000-8000-000000000006', 20000, 'bonus', p_reason => 'told a friend',
    p_expires_at => now() + interval '9 days', p_idempotency_key => 'demo-erin-friend');
  perform public.grant_tokens('ca401000-0000-4000-8000-000000000004', 100000, 'bonus', p_reason => 'a slow week, put right',
    p_expires_at => now() + interval '23 days', p_idempotency_key => 'demo-carol-slow-week');

  -- Dave, starter, paid by hand: their payment for the professional plan waits for an administrator
  perform public.approve_token_payment('dafe0000-0000-4000-8000-000000000005', (
    public.create_token_payment('dafe0000-0000-4000-8000-000000000005', 'starter', 'demo-dave-plan') ->> 'payment_id')::uuid, 'bank transfer');
  perform public.create_token_payment('dafe0000-0000-4000-8000-000000000005', 'professional', 'demo-dave-payment');

  -- Heidi, free: spent everything, and stays at zero
  perform public.deduct_tokens_with_fifo('4e1d1000-0000-4000-8000-000000000009', 10000, 'rewrite', 'demo-heidi-all');

  -- Ivy, starter, paid by hand: a month of chats, images and agents, day by day
  declare
    c_ivy constant uuid := '14100000-0000-4000-8000-00000000000a';
    c_models constant text[] := array['gpt-5-mini', 'gpt-5-mini', 'claude-sonnet-4-5', 'gemini-2.5-flash'];
    v_model text;
    v_hold uuid;
    v_dear bigint;
  begin
    perform public.approve_token_payment(c_ivy,
      (public.create_token_payment(c_ivy, 'starter', 'demo-ivy-plan') ->> 'payment_id')::uuid, 'bank transfer');
    for v_day in 1 .. 27 loop
      if v_day = 9 then
        perform public.approve_token_payment(c_ivy,
          (public.create_token_payment(c_ivy, null, 'demo-ivy-pack', 'pack_120k') ->> 'payment_id')::uuid, 'bank transfer');
      elsif v_day = 14 then -- sixty days to try images
        perform public.grant_tokens(c_ivy, 50000, 'bonus', p_reason => 'try images', p_pays_for => '{"actions": ["image_generation"]}',
          p_expires_at => now() + interval '60 days', p_idempotency_key => 'demo-ivy-images');
      end if;
      for v_call in 1 .. case when v_day % 7 in (0, 6) then 1 else 2 + v_day % 3 end loop -- two quiet days a week, whatever day it is today
        v_model := c_models[1 + (v_day + v_call) % 4];
        if v_call = 2 then -- held before the call, paid after it
          v_hold := public.reserve_tokens(c_ivy, 6000, 900, 'chat_conversation', format('demo-ivy-%s-%s', v_day, v_call), p_model_used => v_model) ->> 'hold_id';
          perform public.capture_tokens(c_ivy, v_hold, p_model_used => v_model, p_input_tokens => 1500 + 130 * v_day, p_output_tokens => 500 + 40 * v_day);
        else
          perform public.track_token_usage(c_ivy, case when (v_day + v_call) % 5 = 0 then 'image_generation' else 'chat_conversation' end, v_model,
            p_input_tokens => 2000 + 310 * ((v_day * 7 + v_call) % 9), p_output_tokens => 700 + 90 * ((v_day * 5 + v_call) % 8),
            p_cached_tokens => 400, p_idempotency_key => format('demo-ivy-%s-%s', v_day, v_call));
        end if;
      end loop;
      if v_day = 20 then -- an answer that was cut off, and given back
        v_dear := public.track_token_usage(c_ivy, 'chat_conversation', 'claude-sonnet-4-5', p_input_tokens => 9000, p_output_tokens => 4200,
          p_idempotency_key => 'demo-ivy-cut-off') ->> 'transaction_id';
        perform public.refund_tokens(c_ivy, v_dear, p_reason => 'the answer was cut off', p_idempotency_key => 'demo-ivy-refund');
      end if;
      perform tokenbook.move_past(c_ivy, interval '1 day');
    end loop;
    perform public.reserve_tokens(c_ivy, 8000, 3600, 'agent_run', 'demo-ivy-agent');
  end;
end
$$;
