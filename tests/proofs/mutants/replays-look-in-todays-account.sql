-- What a key did is looked for in the account that its user spends from now.
select pg_temp.mutate('replayed-where-it-was', '');
