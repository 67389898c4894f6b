/*
 * Demo data: two packs beside the plans, a user on each plan, one with a payment that waits for approval, one who
 * spent everything, and an administrator; prices of three models; password `tokenbook-demo` for each. Written through the same
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

insert into tokenbook.admins (user_id, added_by)
values ('ad000000-0000-4000-8000-000000000003', 'demo data')
on conflict do nothing;

select public.set_token_pack('pack_500k', '{"name": "500,000 tokens", "tokens": 500000, "price_cents": 900}', 'demo data'),
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
  perform public.change_token_plan('b0b00000-0000-4000-8000-000000000002', '28day', 'card', 'demo', 'demo-bob-plan');
  perform public.deduct_tokens_with_fifo('b0b00000-0000-4000-8000-000000000002', 597500, 'chat_conversation', 'demo-bob-chat');

  -- Carol, Erin, Frank, Grace: one on each of the other plans
  perform public.change_token_plan('ca401000-0000-4000-8000-000000000004', 'annual', 'paypal', 'demo', 'demo-carol-plan');
  perform public.change_token_plan('e4100000-0000-4000-8000-000000000006', 'professional', 'card', 'demo', 'demo-erin-plan');
  perform public.deduct_tokens_with_fifo('e4100000-0000-4000-8000-000000000006', 300, 'seo_title', 'demo-erin-title');
  perform public.change_token_plan('f4a00000-0000-4000-8000-000000000007', 'grow', 'card', 'demo', 'demo-frank-plan');
  perform public.track_token_usage('f4a00000-0000-4000-8000-000000000007', 'chat_conversation', 'gpt-5-mini',
    p_input_tokens => 52000, p_output_tokens => 8000, p_cached_tokens => 30000, p_idempotency_key => 'demo-frank-chat');
  perform public.track_token_usage('f4a00000-0000-4000-8000-000000000007', 'chat_conversation', 'claude-sonnet-4-5',
    p_input_tokens => 9000, p_output_tokens => 3000, p_idempotency_key => 'demo-frank-draft');
  perform public.change_token_plan('94ace000-0000-4000-8000-000000000008', 'trial', null, null, 'demo-grace-plan');

  -- Dave, starter: his payment for the professional plan waits for an administrator
  perform public.change_token_plan('dafe0000-0000-4000-8000-000000000005', 'starter', 'manual', 'demo', 'demo-dave-plan');
  perform public.create_token_payment('dafe0000-0000-4000-8000-000000000005', 'professional', 'demo-dave-payment');

  -- Heidi, free: spent everything, and stays at zero
  perform public.deduct_tokens_with_fifo('4e1d1000-0000-4000-8000-000000000009', 10000, 'rewrite', 'demo-heidi-all');
end
$$;

/*
 * Users for docs/guides/reconciliation.md: one for each way in which a balance and its records can part. No
 * function makes such rows; they are put in as the owner of the tables can, behind the functions' back.
 */
do $$
declare
  c_published constant uuid := 'd15c0000-0000-4000-8000-000000000001';
  c_higher constant uuid := 'd15c0000-0000-4000-8000-000000000002';
  c_lower constant uuid := 'd15c0000-0000-4000-8000-000000000003';
  c_cost constant uuid := 'd15c0000-0000-4000-8000-000000000004';
  c_unrecorded constant uuid := 'd15c0000-0000-4000-8000-000000000005';
  c_negative constant uuid := 'd15c0000-0000-4000-8000-000000000006';
  c_failed constant uuid := 'd15c0000-0000-4000-8000-000000000007';
  c_twice constant uuid := 'd15c0000-0000-4000-8000-000000000008';
  v_opened timestamptz := date_trunc('day', now()) - interval '5 days';
  v_usage uuid;
begin
  if exists (select from auth.users u where u.id = c_published) then
    return; -- it is all there
  end if;

  -- Three whose books opened from an older project: what the migrations leave. Before the users
  -- themselves, so that registration finds their grants.
  insert into public.token_balances
    (user_id, id, grant_type, tokens_granted, tokens_remaining, granted_at, created_at, legacy_transaction_id)
  values (c_published, c_published, 'plan', 600000, 600000, v_opened - interval '20 days', v_opened, c_published::text),
         (c_unrecorded, c_unrecorded, 'plan', 600000, 600000, v_opened - interval '20 days', v_opened, null);
  insert into public.token_accounts (user_id, tokens_remaining, tokens_used, total_cost, last_transaction_id)
  values (c_published, 600000, 432778, 400, 1), (c_unrecorded, 600000, 550000, 1250, 1), (c_lower, 0, 10000, 0, 1);
  insert into public.token_transactions
    (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason, actor_role, metadata, created_at, terms)
  select e.user_id, e.id, e.entry_type, e.action_type, e.tokens, e.balance_after, e.grant_ids, e.grant_tokens::bigint[], e.reason,
         e.actor_role, e.metadata::jsonb, e.created_at,
         jsonb_build_object('grants', coalesce((
           select jsonb_agg(tokenbook.grant_terms(b)) from public.token_balances b where b.user_id = e.user_id), '[]'))
    from (
  values (c_published, 1, 'opening_balance', 'opening_balance', 600000, 600000, array[c_published], '{600000}',
          'the books open', 'system', '{"tokens_used": 432778, "total_cost": 400}', v_opened),
         (c_unrecorded, 1, 'opening_balance', 'opening_balance', 600000, 600000, array[c_unrecorded], '{600000}',
          'the books open', 'system', '{"tokens_used": 550000, "total_cost": 1250}', v_opened),
         (c_lower, 1, 'opening_balance', 'opening_balance', 0, 0, '{}', '{}',
          'the books open', 'system', '{"tokens_used": 10000, "total_cost": 0}', v_opened)) as e
         (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason, actor_role, metadata, created_at);
  insert into public.token_legacy_transactions (user_id, id, legacy_id, action_type, tokens, created_at)
  values (c_published, 0, c_published::text, 'subscription_grant', 600000, v_opened - interval '20 days'),
         (c_unrecorded, 0, c_unrecorded::text, 'subscription_grant', 600000, v_opened - interval '20 days');
  insert into tokenbook.archived_profile_counters
    (user_id, vibe_assistant_tokens_remaining, vibe_assistant_tokens_used, vibe_assistant_total_cost, archived_at)
  values (c_published, 600100, 0, 4, v_opened), (c_unrecorded, 50000, 550000, 12.5, v_opened), (c_lower, 40000, 10000, 0, v_opened);
  insert into public.token_usage
    (user_id, action_type, model_used, tokens_used, cost_estimate, success, error_message, created_at)
  values (c_published, 'vision_generation', 'gpt-4', 400000, 300, true, null, v_opened - interval '10 days'),
         (c_published, 'chat_conversation', 'gpt-4', 32778, 100, true, null, v_opened - interval '9 days'),
         (c_published, 'chat_conversation', 'gpt-4', 5000, null, false, 'timeout', v_opened - interval '8 days'),
         (c_lower, 'admin_grant', null, 50000, 0, true, null, v_opened - interval '20 days'),
         (c_lower, 'chat_conversation', 'gpt-4', 10000, 0, true, null, v_opened - interval '10 days');

  insert into auth.users
    (id, aud, role, email, encrypted_password, email_confirmed_at, raw_app_meta_data, raw_user_meta_data,
     confirmation_token, recovery_token, email_change_token_new, email_change, created_at, updated_at)
  select u.id, 'authenticated', 'authenticated', u.name || '@example.com',
         extensions.crypt('tokenbook-demo', extensions.gen_salt('bf', 4)), now(),
         '{"provider": "email", "providers": ["email"]}', '{}', '', '', '', '', now(), now()
    from (values
      (c_published, 'published-example'), (c_higher, 'balance-higher'), (c_lower, 'balance-lower'),
      (c_cost, 'cost-mismatch'), (c_unrecorded, 'no-usage-records'), (c_negative, 'negative-balance'),
      (c_failed, 'failed-operations'), (c_twice, 'duplicate-usage')) as u (id, name);
  insert into auth.identities (id, provider, provider_id, user_id, identity_data, created_at, updated_at)
  select u.id, 'email', u.id::text, u.id,
         jsonb_build_object('sub', u.id, 'email', u.email, 'email_verified', true), now(), now()
    from auth.users u
   where u.id in (c_published, c_higher, c_lower, c_cost, c_unrecorded, c_negative, c_failed, c_twice);

  -- an app that wrote down what it used and did not deduct it; the second used more than he had
  perform public.grant_tokens(c_higher, 50000, 'purchase', p_reason => 'token pack');
  perform public.track_token_usage(c_higher, 'vision_generation', 'gpt-4', p_tokens_used => 2000);
  insert into public.token_usage (user_id, action_type, model_used, tokens_used)
  values (c_higher, 'chat_conversation', 'gpt-4', 7500), (c_negative, 'chat_conversation', 'gpt-4', 13000);
  -- costs calculated again, with other prices
  perform public.track_token_usage(c_cost, 'chat_conversation', 'gpt-4', p_tokens_used => 3000);
  update public.token_usage u set cost_estimate = 250 where u.user_id = c_cost;
  -- an operation that turned out to have failed after it was deducted
  v_usage := public.track_token_usage(c_failed, 'image_generation', 'dall-e-3', p_tokens_used => 4000) ->> 'usage_id';
  update public.token_usage u
     set success = false, error_message = 'content policy'
   where u.user_id = c_failed and u.id = v_usage;
  -- a request that was sent twice, without an idempotency key
  perform public.track_token_usage(c_twice, 'audio_generation', 'tts-1', p_tokens_used => 2500,
    p_metadata => '{"request_id": "req-4711"}') from generate_series(1, 2);
end
$$;
