-- Has numbers in types that are too small for them: a receipt that rounds, a balance that cannot be read.
select pg_temp.mutate('receipts-are-exact', 'p_tokens', 'p_tokens::real');
select pg_temp.mutate('balance-is-bigint', 'v_active', 'v_active::integer');
