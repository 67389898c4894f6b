-- What would have been spent without a difference is first in, first out, whatever order was in force.
select pg_temp.mutate('tokenbook.live_difference', 'tokenbook.is_expiring_first_at(e.at)', 'false');
