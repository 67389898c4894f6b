-- The alert rules of a plan that has ended hold until the account is touched by something else.
select pg_temp.mutate('rules-follow-the-plan', 'and false);');
