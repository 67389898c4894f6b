-- Of a reward that is taken back only what is left is.
select pg_temp.mutate('spent-rewards-are-owed', 'p_take_back => true', 'p_take_back => false');
