-- A renewal after the end begins when the last period ended: time is paid for in which no plan was in force.
select pg_temp.mutate('renewed-after-the-end', 'v_subscription.expires_at);');
