-- What the other project refuses is found when the books are closed already.
select pg_temp.mutate('nobody-twice', '''arriving'')) then', '''arriving'') and p_keys is null) then');
