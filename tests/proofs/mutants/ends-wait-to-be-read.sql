-- The end of a plan makes no account due: it is recorded and told when somebody looks at the plan.
select pg_temp.mutate('ends-are-due', '');
