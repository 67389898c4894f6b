-- Whatever an admin changes beside the ledger is said to be the server's doing.
select pg_temp.mutate('changes-name-who', 'p_actor_role, p_actor_id', '''service'', null');
