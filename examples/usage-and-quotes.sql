-- Recording what calls used, and asking beforehand. The recorded output stands beside this file; on
-- the demo data of `npm start`: psql "$SUPABASE_DB_URL" -f examples/usage-and-quotes.sql

-- What models cost the project, in cents; actions have prices in tokens (token_action_costs).
insert into token_model_prices (model, input_cents_per_million, cached_input_cents_per_million, output_cents_per_million)
values ('example-model', 25, 2.5, 200);

-- What would a call of about 3,000 tokens take, and from where?
select estimate_tokens('a11ce000-0000-4000-8000-000000000001', 'chat_conversation', 'example-model',
  p_input_tokens => 2400, p_output_tokens => 600);

-- The call was made: 1,800 of the input were cached, 200 of the output were reasoning.
select track_token_usage('a11ce000-0000-4000-8000-000000000001', 'chat_conversation', 'example-model',
  p_input_tokens => 2400, p_output_tokens => 580, p_cached_tokens => 1800, p_reasoning_tokens => 200,
  p_idempotency_key => 'example-call');

-- A failed call is recorded and takes nothing.
select track_token_usage('a11ce000-0000-4000-8000-000000000001', 'chat_conversation', 'example-model',
  p_input_tokens => 2400, p_success => false, p_error_message => 'upstream timed out');

-- An action with a fixed price.
select track_token_usage('a11ce000-0000-4000-8000-000000000001', 'seo_title');

-- Heidi has nothing left. Reject says how much is missing; partial records it as uncovered.
select track_token_usage('4e1d1000-0000-4000-8000-000000000009', 'seo_title');
select track_token_usage('4e1d1000-0000-4000-8000-000000000009', 'seo_title', p_on_shortage => 'partial');
