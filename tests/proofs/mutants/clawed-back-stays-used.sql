-- What was used and went back with its money is used all the same.
select pg_temp.mutate('clawed-back-unused', 'r.used - (r.clawed_back - r.taken_back - r.lapsed)', 'r.used');
