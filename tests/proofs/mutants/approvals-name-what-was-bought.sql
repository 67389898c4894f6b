-- The answer to a payment says that what was bought is in force, whether it is or not.
select pg_temp.mutate('answers-what-counts', $$'plan_in_force', p_facts.plan_type,$$);
