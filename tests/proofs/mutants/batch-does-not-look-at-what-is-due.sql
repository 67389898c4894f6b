-- Takes the account's word for what there is, although some of it has run out, and pays from that.
select pg_temp.mutate('batch-has-nothing-due', '');
select pg_temp.mutate('batch-spends-what-lives', 'p_now', $$'-infinity'$$);
