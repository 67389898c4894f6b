-- A move copies the books while they are spent from, and lets go of them afterwards.
select pg_temp.mutate('locked-before-copied', 'state = a.state');
select pg_temp.mutate('nothing-due-elsewhere', 'set');
select pg_temp.mutate('still-on-the-way', '');
select pg_temp.mutate('unchanged-since-the-copy', '');
select pg_temp.mutate('compared-whole', '');
select pg_temp.mutate('verified-on-arrival', 'if false then');
