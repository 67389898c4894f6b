-- Of an array of objects the first is booked, and the others are dropped without a word.
select pg_temp.mutate('one-object-only', 'or true');
