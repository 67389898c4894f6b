-- A slot of a plan that was paid for does not know by whom.
select pg_temp.mutate('slots-have-their-money', '');
