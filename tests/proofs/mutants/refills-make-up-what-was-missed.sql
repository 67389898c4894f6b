-- A plan that fills up gives all the slots that were missed.
select pg_temp.mutate('refills-make-nothing-up', '');
