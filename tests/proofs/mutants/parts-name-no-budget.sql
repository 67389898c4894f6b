-- a part of a budget does not say whose part it is
select pg_temp.mutate('parts-name-their-budget', 'null,');
