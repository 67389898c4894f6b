-- An archive takes uses out of the table while it is being split: what is compared already has them still.
select pg_temp.mutate('archives-wait-for-splits', 'if false then');
