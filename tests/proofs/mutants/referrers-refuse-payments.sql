-- A payment does not take the account of who referred first, and is busy where somebody has it.
select pg_temp.mutate('both-in-one-order', 'null;');
