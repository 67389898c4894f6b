-- An assignment says whose one payment is, and not whose its customer is: the next month is parked again.
select pg_temp.mutate('assigned-customers-are-known', '');
