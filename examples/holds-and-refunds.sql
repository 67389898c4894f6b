-- Holds, captures, refunds and voids, as a server calls them. The recorded output stands beside this
-- file; on the demo data of `npm start`: psql "$SUPABASE_DB_URL" -f examples/holds-and-refunds.sql

-- Grace is about to stream an answer of at most 4,000 tokens: set them aside.
select reserve_tokens('94ace000-0000-4000-8000-000000000008', 4000, 600, 'chat_conversation', 'example-hold');

-- Meanwhile Alice can spend what is left, and sees what is held.
select get_user_token_balance('94ace000-0000-4000-8000-000000000008');

-- The answer took 2,750: pay that, give the rest back, record the operation, in one transaction.
select capture_tokens(user_id, id, p_model_used => 'gpt-4', p_input_tokens => 2000, p_output_tokens => 750)
  from token_holds where user_id = '94ace000-0000-4000-8000-000000000008';

-- A second capture, from any caller, answers what happened the first time.
select capture_tokens(user_id, id, 4000)
  from token_holds where user_id = '94ace000-0000-4000-8000-000000000008';

-- Half of the answer was nonsense: give 1,000 back, to the grant that paid.
select refund_tokens(user_id, transaction_id, 1000, 'half the answer was missing', p_idempotency_key => 'example-refund')
  from token_usage where user_id = '94ace000-0000-4000-8000-000000000008' and model_used = 'gpt-4';

-- Why does Alice pay this much?
select explain_token_charge(user_id, p_usage_id => id)
  from token_usage where user_id = '94ace000-0000-4000-8000-000000000008' and model_used = 'gpt-4';

-- A gift that was meant for somebody else is taken back whole.
select grant_tokens('94ace000-0000-4000-8000-000000000008', 5000, 'admin', p_reason => 'for the wrong Grace', p_idempotency_key => 'example-gift');
select void_token_grant(user_id, id, 'was for somebody else', p_take_back => true)
  from token_balances where user_id = '94ace000-0000-4000-8000-000000000008' and grant_type = 'admin';
