-- No bad variant but the other way: deductions and balances as they are when nothing is usual.
select pg_temp.mutate('private.deduct_tokens_with_fifo', 'if v_receipt is not null then', 'if false then');
select pg_temp.mutate('private.deduct_tokens_with_fifo', 'v_receipt := private.spend_at_once(', 'v_receipt := jsonb_build_array(');
select pg_temp.mutate('private.get_user_token_balance', 'if v_balance is not null then', 'if false then');
