-- What a provider says of its subscription does not say whether it charges again.
select pg_temp.mutate('providers-renew', 'coalesce(t.will_renew, p_subscription.auto_renew)', 'p_subscription.auto_renew');
