-- Takes a failed operation for one that succeeded, and so never finds one that was deducted.
select pg_temp.mutate('failed-moved-nothing', '');
