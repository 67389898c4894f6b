-- A sweep books what is due on accounts whose books are elsewhere.
select pg_temp.mutate('sweeps-what-is-here', '');
