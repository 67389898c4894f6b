-- What is refunded stays owed, and tokens come out of nothing.
select pg_temp.mutate('refunds-let-off-debt', 'select -least(v_of_overdraft, a.tokens_owed)', 'select 0');
