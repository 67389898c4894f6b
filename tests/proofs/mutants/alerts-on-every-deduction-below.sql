-- Looks whether the balance is below, and not whether it was already.
select pg_temp.mutate('alerts-when-passed', 'true');
select pg_temp.mutate('only-crossings-tell', ' and not v_was_below', '');
