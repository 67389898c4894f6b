-- A read counts a trial that the policy does not give.
select pg_temp.mutate('trials-asked-first', 'v_asked.share = ''none''', 'false');
