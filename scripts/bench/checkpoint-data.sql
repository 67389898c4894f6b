/*
 * A ledger of bench.entries entries, spread evenly over bench.users users and written in the order of time, as
 * life would: a user's are all over the table. Keyed deductions of an AI call with a little metadata.
 */
insert into public.token_transactions
  (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason, actor_role, actor_id,
   idempotency_key, request, metadata)
select u.user_id, 1 + n / users.count, 'deduction', 'chat_conversation', -1, 1000000 - n / users.count,
       array[u.grant_id], array[1], 'chat_conversation', 'user', u.user_id,
       'call-' || n, '{"tokens": 1, "action_type": "chat_conversation"}', jsonb_build_object('model', 'small', 'call', n)
  from (select current_setting('bench.users')::bigint as count) users
 cross join generate_series(current_setting('bench.from')::bigint, current_setting('bench.to')::bigint - 1) n
 cross join lateral (
   select md5('user ' || n % users.count)::uuid as user_id, md5('grant ' || n % users.count)::uuid as grant_id) u;
