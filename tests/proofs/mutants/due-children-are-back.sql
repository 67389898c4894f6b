-- A child that has run out counts as back with the grants, though its parent is open.
select pg_temp.mutate('due-to-its-parent', ';');
