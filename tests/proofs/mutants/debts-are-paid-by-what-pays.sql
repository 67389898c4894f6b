-- What is due to repay a debt is taken off the grants that pay for the use.
select pg_temp.mutate('skips-before-passing-over', 'least(v_tokens, v_skip)', 'case when v_pays then least(v_tokens, v_skip) else 0 end');
