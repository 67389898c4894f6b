-- What is taken for what others had been used for counts as nothing.
select pg_temp.mutate('taken-for-others', 'then p.part_tokens', 'then 0');
