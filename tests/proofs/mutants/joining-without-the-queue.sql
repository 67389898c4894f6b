-- Who joins or leaves a team does not stand in his queue.
select pg_temp.mutate('member-queues-first', '', p_places => 2);
