-- Has numbers in types that are too small for them: a receipt that rounds, a balance that cannot be read.
select pg_temp.mutate('tokenbook.deduction_receipt', 'p_shortfall = 0 then p_tokens else 0 end', 'p_shortfall = 0 then p_tokens::real else 0 end');
select pg_temp.mutate('tokenbook.get_user_token_balance', $$coalesce(a.tokens_remaining - due.lost + due.returned - due.repaid, 0)$$, $$coalesce(a.tokens_remaining - due.lost + due.returned - due.repaid, 0)::integer$$);
select pg_temp.mutate('tokenbook.get_balance_fast_path', $$'total_active', a.tokens_remaining$$, $$'total_active', a.tokens_remaining::integer$$);
