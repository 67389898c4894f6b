-- An upgrade without a payment leaves the payment before it as the one that the plan came from.
select pg_temp.mutate('plan-knows-its-payment', 'payment_id = coalesce(excluded.payment_id, s.payment_id),');
