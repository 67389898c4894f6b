-- No bad variant but the other way: deductions and balances as they are when nothing is usual.
select pg_temp.mutate('private.deduct_tokens_with_fifo', 'exit usual when (v_actor_role', 'exit usual when true or (v_actor_role');
select pg_temp.mutate('private.get_user_token_balance', 'if v_balance is not null then', 'if false then');
