-- Each attempt to charge for one period is told as a failure of its own.
select pg_temp.mutate('told-once-a-period', 'v_late.expires_at', 'p_facts.occurred_at');
