-- Of an account whose slots a sweep has no room for, what has run out is booked all the same.
select pg_temp.mutate('postponed-whole', 'if false then');
