-- Looks for what a period gave before it was paid for in all that its user ever did.
select pg_temp.mutate('slots-by-their-index', 't.action_type = ''scheduled_grant''', 't.action_type || '''' = ''scheduled_grant''');
