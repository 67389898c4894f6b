-- No bad variant but the other way: no deduction and no balance takes the fast path.
select pg_temp.mutate('tokenbook.deduct_tokens_with_fifo', 'exit fast_path when (p_user_id', 'exit fast_path when true or (p_user_id');
select pg_temp.mutate('tokenbook.get_user_token_balance', 'if v_balance is not null then', 'if false then');
