-- What the provider counts is not looked at: a payment that was made up for waits.
select pg_temp.mutate('counted-cycles-are-paid', 'if false then');
