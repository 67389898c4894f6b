-- What is owed for a use does not count for a cap.
select pg_temp.mutate('caps-count-the-owed', '');
