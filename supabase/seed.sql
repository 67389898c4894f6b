/*
 * Demo data: a user on each plan, one with a payment that waits for approval, one who spent
 * everything, and an administrator; password `tokenbook-demo` for each. Written through the same
 * functions as everything else; run again, it changes nothing. For local use only.
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
    ('4e1d1000-0000-4000-8000-000000000009', 'heidi@example.com', '{"provider": "email", "providers": ["email"]}')
  ) as u (id, email, app_metadata)
on conflict do nothing;

insert into auth.identities (id, provider, provider_id, user_id, identity_data, created_at, updated_at)
select u.id, 'email', u.id::text, u.id,
       jsonb_build_object('sub', u.id, 'email', u.email, 'email_verified', true), now(), now()
  from auth.users u
 where u.email like '%@example.com'
on conflict do nothing;

insert into private.admins (user_id, added_by)
values ('ad000000-0000-4000-8000-000000000003', 'demo data')
on conflict do nothing;

do $$
begin
  if exists (select from public.token_transactions t where t.idempotency_key = 'demo-alice-trial') then
    return; -- the demo has been booked
  end if;

  -- Alice, free: an older grant and a pack, so that 150,000 tokens are spent across several grants
  perform public.grant_tokens('a11ce000-0000-4000-8000-000000000001', 100000, 'trial',
    p_granted_at => now() - interval '720 hours', p_reason => 'trial month', p_idempotency_key => 'demo-alice-trial');
  perform public.grant_tokens('a11ce000-0000-4000-8000-000000000001', 500000, 'purchase',
    p_reason => 'token pack', p_idempotency_key => 'demo-alice-pack');

  -- Bob, 28-day membership: most of it used
  perform public.upgrade_plan('b0b00000-0000-4000-8000-000000000002', '28day', 'card', 'demo', 'demo-bob-plan');
  perform public.deduct_tokens_with_fifo('b0b00000-0000-4000-8000-000000000002', 597500, 'chat_conversation', 'demo-bob-chat');

  -- Carol, Erin, Frank, Grace: one on each of the other plans
  perform public.upgrade_plan('ca401000-0000-4000-8000-000000000004', 'annual', 'paypal', 'demo', 'demo-carol-plan');
  perform public.upgrade_plan('e4100000-0000-4000-8000-000000000006', 'professional', 'card', 'demo', 'demo-erin-plan');
  perform public.deduct_tokens_with_fifo('e4100000-0000-4000-8000-000000000006', 300, 'seo_title', 'demo-erin-title');
  perform public.upgrade_plan('f4a00000-0000-4000-8000-000000000007', 'grow', 'card', 'demo', 'demo-frank-plan');
  perform public.upgrade_plan('94ace000-0000-4000-8000-000000000008', 'trial', null, null, 'demo-grace-plan');

  -- Dave, starter: his payment for the professional plan waits for an administrator
  perform public.upgrade_plan('dafe0000-0000-4000-8000-000000000005', 'starter', 'manual', 'demo', 'demo-dave-plan');
  perform public.create_payment('dafe0000-0000-4000-8000-000000000005', 'professional', 'demo-dave-payment');

  -- Heidi, free: spent everything, and stays at zero
  perform public.deduct_tokens_with_fifo('4e1d1000-0000-4000-8000-000000000009', 10000, 'rewrite', 'demo-heidi-all');
end
$$;
