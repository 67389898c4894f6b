-- Has numbers in types that are too small for them: a receipt that rounds, a balance that cannot be read.
select pg_temp.mutate('receipts-are-exact', 'p_tokens', 'p_tokens::real');
select pg_temp.mutate('balance-is-bigint', '0)', '0)::integer');
select pg_temp.mutate('fast-balance-is-bigint', $$'total_active', a.tokens_remaining::integer,$$);
