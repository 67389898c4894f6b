-- An assignment raises at once the alert that it contradicts what the admin has just seen.
select pg_temp.mutate('assigned-with-eyes-open', 'if false then');
