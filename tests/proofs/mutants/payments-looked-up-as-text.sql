-- Looks a subscription's payment up as text, among all that its user ever paid.
select pg_temp.mutate('payments-by-their-index', 'y.id = tokenbook.payment_id_in(p_payment_id)', 'y.id::text = p_payment_id');
