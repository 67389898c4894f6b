-- An upgrade without a payment leaves the payment before it as the one that the plan came from.
select pg_temp.mutate('plan-knows-its-payment', 'v_is.payment_id := coalesce(p_payment_id, p_was.payment_id);');
