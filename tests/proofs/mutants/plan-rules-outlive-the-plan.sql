-- The alert rules of a plan that has ended hold until something else sets the account's thresholds anew.
select pg_temp.mutate('rules-follow-the-plan', '');
