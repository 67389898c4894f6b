-- The project is told of a contradiction with every event of the payment.
select pg_temp.mutate('contradicted-told-once', 'if p_payment.id is null or v_others is null then');
