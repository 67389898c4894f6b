-- Does not look at what has been refunded of a charge before.
select pg_temp.mutate('refunded-only-once', ' - v_charge.refunded', '');
