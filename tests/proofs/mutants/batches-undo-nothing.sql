-- All or nothing is whatever goes.
select pg_temp.mutate('tokenbook.deduct_tokens_batch', 'if p_all_or_nothing and exists', 'if false and exists');
