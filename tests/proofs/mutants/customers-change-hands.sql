-- A customer is whose the event that came last says, instead of the one that was first.
select pg_temp.mutate('first-user-counts', '');
