-- An upgrade without a payment leaves the payment before it as the one that the plan came from.
select pg_temp.mutate('tokenbook.start_period', 'payment_id = excluded.payment_id,', 'payment_id = coalesce(excluded.payment_id, s.payment_id),');
