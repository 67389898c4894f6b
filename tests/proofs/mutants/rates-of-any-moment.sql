-- A rate that is still to come counts now.
select pg_temp.mutate('rates-of-their-moment', ' and l.valid_from <= p_at', '');
