-- A plan whose money is gone ends, and nobody is told.
select pg_temp.mutate('refunds-tell-the-end', '');
