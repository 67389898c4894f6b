-- Takes back only what is left of the grant.
select pg_temp.mutate('mistakes-taken-back-whole', 'if false then');
