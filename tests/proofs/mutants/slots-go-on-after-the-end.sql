-- A plan that is over goes on giving.
select pg_temp.mutate('slots-within-the-plan', $$least(p_at, p_until - interval '1 microsecond')$$, 'p_at');
