-- Of a moment that has passed, a child that had run out counts as back with the grants.
select pg_temp.mutate('past-children-return', '');
