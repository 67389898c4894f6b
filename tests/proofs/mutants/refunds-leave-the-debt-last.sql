-- What grants have paid comes back before what is owed.
select pg_temp.mutate('overdrafts-come-back-first', 'least(v_wanted, greatest(v_charge.debt_change - v_charge.refunded, 0))', 'greatest(least(v_charge.debt_change, v_wanted + v_charge.tokens), 0)');
