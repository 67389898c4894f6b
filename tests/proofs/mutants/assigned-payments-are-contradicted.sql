-- Who assigns a payment is told at once that what they have just seen contradicts it.
select pg_temp.mutate('assigned-with-eyes-open', 'if false then');
