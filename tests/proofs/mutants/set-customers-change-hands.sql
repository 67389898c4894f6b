-- Setting a customer's user takes the customer from the user it is assigned to, without p_replace.
select pg_temp.mutate('set-customers-stay', 'v_customer_user_id is null', 'not v_is_replaced');
