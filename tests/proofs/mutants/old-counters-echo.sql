-- What the books write into the counter is taken for something that the app did, and booked.
select pg_temp.mutate('own-writes-are-known', '');
