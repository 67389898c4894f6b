-- An account whose hold is settled stays due when that would have run out.
select pg_temp.mutate('settled-holds-are-over', 'if false then');
