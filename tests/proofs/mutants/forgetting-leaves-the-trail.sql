-- The words of an operation stay where the app looks for them.
select pg_temp.mutate('trail-goes-along', 'from erased e where false');
