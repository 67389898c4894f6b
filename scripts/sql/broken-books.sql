/*
 * Books that are wrong on purpose: a user for each way in which a balance and its records can part
 * (docs/guides/reconciliation.md). No function makes such rows; they are put in as the owner of the tables can, behind
 * the functions' back. For the demo data of a local stack, and nothing else: `npm run demo:broken`. Run again, it changes
 * nothing.
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

  -- an app that wrote down what it used and did not deduct it; the second user used more than they had
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
