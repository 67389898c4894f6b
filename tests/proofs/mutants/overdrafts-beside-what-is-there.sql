-- Something is owed while tokens are there that do not pay for it.
select pg_temp.mutate('owed-when-nothing-left', 'tokens = tokens_remaining and ', '');
