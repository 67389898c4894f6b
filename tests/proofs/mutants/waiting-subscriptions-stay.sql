-- When a customer's user becomes known, what is known of their subscription is not recorded.
select pg_temp.mutate('waiting-subscriptions-are-settled', '');
