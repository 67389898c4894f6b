-- Changes of the counter are noted with the rights of whoever makes them, who has none.
select pg_temp.mutate('noted-with-our-rights', 'definer', 'invoker');
