-- Whoever says whose a customer is takes it from whom it was assigned to, without saying that they mean to.
select pg_temp.mutate('set-customers-stay', 'v_customer_user_id is null', 'not v_is_replaced');
