-- A lower plan whose time has come begins only when somebody reads the balance.
select pg_temp.mutate('due-downgrade-first', '', p_places => 2);
