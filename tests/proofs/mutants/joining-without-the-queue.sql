-- Joining or leaving a team does not first take the member's place in the queue.
select pg_temp.mutate('member-queues-first', '', p_places => 2);
