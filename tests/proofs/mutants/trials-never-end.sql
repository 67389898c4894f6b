-- A trial stays in force when its tokens have run out.
select pg_temp.mutate('trials-end', 'return null;');
