-- The limit of a plan is that of all.
select pg_temp.mutate('overdraft-of-the-plan', 'p.plan_type = s.plan_type', 'p.overdraft_tokens is not null');
