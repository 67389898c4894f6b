-- Refunds from the front of what was paid, not from its end.
select pg_temp.mutate('refunds-from-the-end', 'v_charge.refunded, v_charge.refunded + v_wanted) as part');
