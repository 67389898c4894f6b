-- What has run out and is not booked counts as what can be spent.
select pg_temp.mutate('asked-nothing-due', '');
