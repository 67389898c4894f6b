/*
 * Demo data: two users with tokens and an administrator, password `tokenbook-demo` for each.
 * Written through the same functions as everything else; run twice, it changes nothing the second
 * time. For local use only.
 */
insert into auth.users
  (id, aud, role, email, encrypted_password, email_confirmed_at, raw_app_meta_data, raw_user_meta_data,
   confirmation_token, recovery_token, email_change_token_new, email_change, created_at, updated_at)
select u.id, 'authenticated', 'authenticated', u.email,
       extensions.crypt('tokenbook-demo', extensions.gen_salt('bf')), now(), u.app_metadata, '{}',
       '', '', '', '', now(), now()
  from (values
    ('a11ce000-0000-4000-8000-000000000001'::uuid, 'alice@example.com', '{"provider": "email", "providers": ["email"]}'::jsonb),
    ('b0b00000-0000-4000-8000-000000000002', 'bob@example.com', '{"provider": "email", "providers": ["email"]}'),
    ('ad000000-0000-4000-8000-000000000003', 'admin@example.com', '{"provider": "email", "providers": ["email"], "role": "admin"}')
  ) as u (id, email, app_metadata)
on conflict do nothing;

insert into auth.identities (id, provider, provider_id, user_id, identity_data, created_at, updated_at)
select u.id, 'email', u.id::text, u.id,
       jsonb_build_object('sub', u.id, 'email', u.email, 'email_verified', true), now(), now()
  from auth.users u
 where u.email in ('alice@example.com', 'bob@example.com', 'admin@example.com')
on conflict do nothing;

insert into private.admins (user_id, added_by)
values ('ad000000-0000-4000-8000-000000000003', 'demo data')
on conflict do nothing;

do $$
begin
  if exists (select from public.token_accounts a where a.user_id = 'a11ce000-0000-4000-8000-000000000001') then
    return; -- the demo has been booked
  end if;

  -- Alice: two grants, so that a deduction of more than 100,000 spends across both
  perform public.grant_tokens('a11ce000-0000-4000-8000-000000000001', 100000, 'trial',
    p_granted_at => now() - interval '720 hours', p_reason => 'trial month', p_idempotency_key => 'demo-alice-trial');
  perform public.grant_tokens('a11ce000-0000-4000-8000-000000000001', 500000, 'purchase',
    p_reason => 'token pack', p_idempotency_key => 'demo-alice-pack');

  -- Bob: most of his tokens used
  perform public.grant_tokens('b0b00000-0000-4000-8000-000000000002', 600000, '28day',
    p_reason => 'membership cycle', p_idempotency_key => 'demo-bob-cycle');
  perform public.deduct_tokens_with_fifo('b0b00000-0000-4000-8000-000000000002', 587500, 'chat_conversation',
    'demo-bob-chat');
end
$$;
