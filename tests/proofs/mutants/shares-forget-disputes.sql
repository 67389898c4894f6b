-- What disputes withhold is not lost.
select pg_temp.mutate('lost-is-both', 'p_refunded_cents + p_disputed_cents', 'p_refunded_cents');
