-- A subject that is not registered reads empty tables, and is told to sign in.
select pg_temp.mutate('subjects-are-registered', 'if false then');
