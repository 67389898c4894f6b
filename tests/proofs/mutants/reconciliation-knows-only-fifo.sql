-- What would have been spent without a difference is first in, first out, whatever order was in force.
select pg_temp.mutate('order-then-in-force', 'select e.*, false as is_expiring_first, b.rolled_over_from');
