-- Takes back only what is left of the grant.
select pg_temp.mutate('tokenbook.void_token_grant', 'if coalesce(p_take_back, false) then', 'if false then');
