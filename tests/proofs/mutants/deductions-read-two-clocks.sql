-- Whether something is due is asked before the moment that what is open is asked of.
select pg_temp.mutate('usual-nothing-due', 'if v_due_at <= statement_timestamp() - interval ''1 hour'' then');
