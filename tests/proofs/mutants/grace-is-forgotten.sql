-- A plan is over the instant its period is, whatever grace it has.
select pg_temp.mutate('grace-after-the-end', 'p_subscription.expires_at);');
