-- What an admin does with a parked payment is booked as the server's doing.
select pg_temp.mutate('assigned-by-whom', 'p_actor_role := ''service''; p_actor_id := null; \&');
