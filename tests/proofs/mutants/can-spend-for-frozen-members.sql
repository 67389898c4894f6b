-- A frozen member of a team, or one of a frozen payer, is told that they can spend.
select pg_temp.mutate('frozen-cannot-spend', 'null;');
