-- change_token_plan compares ranks and nothing else, so that a payment and a change come to two plans.
select pg_temp.mutate('both-ways-agree', 'and v_plan.rank < (select p.rank from public.token_plans p where p.plan_type = v_subscription.plan_type)');
