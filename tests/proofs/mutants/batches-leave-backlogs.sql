-- A batch refuses the items of an account that is behind, and books nothing of what is due there.
select pg_temp.mutate('batches-settle-backlogs', '');
