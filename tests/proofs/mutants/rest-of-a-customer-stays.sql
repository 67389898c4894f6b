-- Of a customer of whom more waits than a portion, the rest waits for ever.
select pg_temp.mutate('rest-of-a-customer', 'v_customer_user_id is not null', 'v_is_new');
